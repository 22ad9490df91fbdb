// Under a message that the server has not accepted yet: why, and what the person can do.
import type { DeliveryStatus } from '../outbox/deliveryStatus';
import { Countdown } from './Countdown';

interface Props {
  delivery: DeliveryStatus;
  onResend: () => void;
  onEdit: () => void;
}

export function DeliveryNote({ delivery, onResend, onEdit }: Props) {
  return (
    <div className="delivery-note" data-kind={delivery.kind}>
      <Sentence delivery={delivery} />
      {delivery.kind === 'refused' && <button type="button" className="quiet" onClick={onResend}>Send again</button>}
      {delivery.kind !== 'sending' && <button type="button" className="quiet" onClick={onEdit}>Edit</button>}
    </div>
  );
}

function Sentence({ delivery }: { delivery: DeliveryStatus }) {
  switch (delivery.kind) {
    case 'sending':
      return <span>Sending…</span>;
    case 'offline':
      return <span>Saved. Will be sent when you are back online.</span>;
    case 'refused':
      return <span>{`Not sent. ${delivery.detail}`}</span>;
    case 'held':
      return (
        <span>
          <span>{HELD[delivery.reason]}</span>
          <Countdown action="Sending again" until={delivery.until} />
        </span>
      );
  }
}

const HELD = {
  rate_limited: 'Too many messages in a short time.',
  busy: 'The server is busy.',
  unavailable: 'The server cannot save messages just now.',
};
