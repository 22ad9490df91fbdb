// Under a message that the server has not accepted yet: why, and what can be done.
import type { Standing } from '../outbox/standing';
import { Countdown } from './Countdown';

interface Props {
  standing: Standing;
  onAgain: () => void;
  onTakeBack: () => void;
}

export function UnsentNote({ standing, onAgain, onTakeBack }: Props) {
  const refused = standing.kind === 'refused';
  return (
    <div className="unsent-note" data-kind={standing.kind}>
      <span><Sentence standing={standing} /></span>
      {refused && <button type="button" className="quiet" onClick={onAgain}>Send again</button>}
      {standing.kind !== 'sending' && (
        <button type="button" className="quiet" onClick={onTakeBack}>{refused ? 'Edit' : 'Take back'}</button>
      )}
    </div>
  );
}

function Sentence({ standing }: { standing: Standing }) {
  switch (standing.kind) {
    case 'sending':
      return 'Sending…';
    case 'offline':
      return 'Kept here. It goes out by itself once connected.';
    case 'refused':
      return `Not sent. ${standing.detail}`;
    case 'held':
      return <>{HELD[standing.reason]} It goes out by itself.<Countdown until={standing.until} /></>;
  }
}

const HELD = {
  rate_limited: 'That was a lot in a short time.',
  busy: 'The server is busy.',
  unavailable: 'The server cannot store messages just now.',
};
