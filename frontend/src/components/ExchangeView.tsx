// One message of the person and the reply to it.
import { memo } from 'react';
import type { OutboxEntry } from '../conversation/exchanges';
import type { LiveReply } from '../conversation/state';
import type { DeliveryStatus } from '../outbox/deliveryStatus';
import type { BotMessage, HumanMessage, ServiceState } from '../protocol/frames';
import { PersonMessage } from './PersonMessage';
import { Reply } from './Reply';
import { DeliveryNote } from './DeliveryNote';

export interface ExchangeActions {
  onRetry: (to: string) => void;
  onResend: (id: string) => void;
  onEdit: (entry: OutboxEntry) => void;
}

interface Props {
  human: HumanMessage;
  reply: BotMessage | null;
  live: LiveReply | null;
  unsent: OutboxEntry | null;
  delivery: DeliveryStatus | null;
  service: ServiceState;
  stopping: boolean;
  canRetry: boolean;
  /** At least as high as the window, so that the message is at the top and the reply grows below it. */
  anchored: boolean;
  actions: ExchangeActions;
}

export const ExchangeView = memo(function ExchangeView(props: Props) {
  const { human, reply, live, unsent, delivery, actions, anchored } = props;
  const note = unsent && delivery && (
    <DeliveryNote
      delivery={delivery}
      onResend={() => actions.onResend(unsent.id)}
      onEdit={() => actions.onEdit(unsent)}
    />
  );
  return (
    <div className="exchange" data-anchored={anchored || undefined}>
      <PersonMessage text={human.text} timestamp={human.timestamp} unsent={note} />
      {(reply ?? live ?? human.failed) && (
        <Reply
          reply={reply}
          live={live}
          failed={human.failed ?? null}
          service={props.service}
          stopping={props.stopping}
          canRetry={props.canRetry}
          to={human.id}
          onRetry={actions.onRetry}
        />
      )}
    </div>
  );
});
