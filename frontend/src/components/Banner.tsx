// Says that the connection is down, why, and what happens next. Silent for the first moment.
import type { Status, Problem } from '../connection/status';
import type { Refusal } from '../protocol/closeCodes';
import { useHasPassed } from './useHasPassed';

interface Props {
  link: Status;
  online: boolean;
  onConnect: () => void;
}

/** Most interruptions are over before anyone needs to know. */
export const QUIET_MS = 1_500;

const PROBLEMS: Record<Problem, string> = {
  lost: 'Connection lost. Reconnecting… What you write is saved.',
  restarting: 'The server is restarting. Reconnecting… What you write is saved.',
  behind: 'Catching up…',
  too_big: 'The server refused a message that was too big.',
  crowded: 'Too many tabs are open. Close another tab with this conversation, and this one connects by itself.',
  blocked: 
    'The server answers, but a proxy or firewall blocks live connections to it. It must let WebSockets pass.',
};

const REFUSED: Record<Exclude<Refusal, 'gone'>, string> = {
  forbidden: 'The server does not accept connections from this address. Open the page at the server’s own address.',
};

const OFFLINE = 'You are offline. What you write is saved and sent later.';

export function Banner({ link, online, onConnect }: Props) {
  const down = link.state === 'connecting' || link.state === 'waiting' ? link.downSince : null;
  const loud = useHasPassed(down === null ? null : down + QUIET_MS);
  const sentence = sentenceFor(link, online, loud);
  return (
    <div role="status" aria-label="Connection" className="banner-place">
      {sentence !== null && (
        <div className="banner">
          <span>{sentence}</span>
          {link.state !== 'connecting' && <button type="button" onClick={onConnect}>Connect now</button>}
        </div>
      )}
    </div>
  );
}

function sentenceFor(link: Status, online: boolean, loud: boolean): string | null {
  switch (link.state) {
    case 'refused':
      return link.why === 'gone' ? null : REFUSED[link.why];
    case 'connecting':
    case 'waiting':
      // Too many open tabs does not pass by itself, so it is shown at once.
      if (!loud && link.cause !== 'crowded') return null;
      return online ? PROBLEMS[link.cause ?? 'lost'] : OFFLINE;
    case 'open':
    case 'idle':
      return null;
  }
}
