// Under a message that the server has not accepted yet: why, and what the person can do.
import type { DeliveryStatus } from '../outbox/deliveryStatus';
import { Countdown } from './Countdown';

interface Props {
  delivery: DeliveryStatus;
  onResend: () => void;
  onEdit: () => void;
}

export function DeliveryNote({ delivery, onResend, onEdit }: Props) {
  const refused = delivery.kind === 'refused';
  return (
    <div className="delivery-note" data-kind={delivery.kind}>
      <span><Sentence delivery={delivery} /></span>
      {refused && <button type="button" className="quiet" onClick={onResend}>Send again</button>}
      {delivery.kind !== 'sending' && (
        <button type="button" className="quiet" onClick={onEdit}>{refused ? 'Edit' : 'Take back'}</button>
      )}
    </div>
  );
}

function Sentence({ delivery }: { delivery: DeliveryStatus }) {
  switch (delivery.kind) {
    case 'sending':
      return 'Sending…';
    case 'offline':
      return 'Kept here. It goes out by itself once connected.';
    case 'refused':
      return `Not sent. ${delivery.detail}`;
    case 'held':
      return <><span>{`${HELD[delivery.reason]} It goes out by itself.`}</span><Countdown until={delivery.until} /></>;
  }
}

const HELD = {
  rate_limited: 'That was a lot in a short time.',
  busy: 'The server is busy.',
  unavailable: 'The server cannot store messages just now.',
};
