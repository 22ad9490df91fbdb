// One message of the person and the reply to it.
import { memo } from 'react';
import type { OutboxEntry } from '../conversation/exchanges';
import type { LiveReply } from '../conversation/state';
import type { DeliveryStatus } from '../outbox/deliveryStatus';
import type { BotMessage, HumanMessage, ServiceState } from '../protocol/frames';
import { DeliveryNote } from './DeliveryNote';
import { PersonMessage } from './PersonMessage';
import { Reply } from './Reply';

export interface ExchangeActions {
  onRetry: (to: string) => void;
  onContinue: (to: string) => void;
  /** Replaces a message that the server has. */
  onEdit: (message: HumanMessage) => void;
  onResend: (id: string) => void;
  /** Takes an unsent message back into the composer. */
  onEditUnsent: (entry: OutboxEntry) => void;
}

interface Props {
  human: HumanMessage;
  reply: BotMessage | null;
  live: LiveReply | null;
  unsent: OutboxEntry | null;
  delivery: DeliveryStatus | null;
  service: ServiceState;
  ahead: number | null;
  open: boolean;
  stopping: boolean;
  /** The last message that the server has, and no reply is being written: it can be answered again. */
  canRetry: boolean;
  /** The same, and nothing is waiting to be sent. */
  canEdit: boolean;
  /** At least as high as the window, so that the message is at the top and the reply grows below it. */
  anchored: boolean;
  actions: ExchangeActions;
}

export const ExchangeView = memo(function ExchangeView(props: Props) {
  const { human, reply, live, unsent, delivery, canRetry, canEdit, actions, anchored } = props;
  const note = unsent && delivery && (
    <DeliveryNote
      delivery={delivery}
      onResend={() => actions.onResend(unsent.id)}
      onEdit={() => actions.onEditUnsent(unsent)}
    />
  );
  return (
    <div className="exchange" data-anchored={anchored || undefined}>
      <PersonMessage
        text={human.text}
        timestamp={human.timestamp}
        unsent={note}
        onEdit={canEdit ? () => actions.onEdit(human) : null}
      />
      {(reply ?? live ?? human.failed) && (
        <Reply
          reply={reply}
          live={live}
          failed={human.failed ?? null}
          service={props.service}
          ahead={props.ahead}
          open={props.open}
          stopping={props.stopping}
          canRetry={canRetry}
          to={human.id}
          onRetry={actions.onRetry}
          onContinue={actions.onContinue}
        />
      )}
    </div>
  );
});
