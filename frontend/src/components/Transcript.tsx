// All messages and replies, oldest first. A long list is rendered from its end, so that it opens at once.
import { memo } from 'react';
import type { Exchange } from '../conversation/exchanges';
import type { OutboxView } from '../outbox/outbox';
import { deliveryStatusOf } from '../outbox/deliveryStatus';
import type { ServiceState } from '../protocol/frames';
import { ExchangeView, type ExchangeActions } from './ExchangeView';
import { useProgressiveRender } from './useProgressiveRender';

interface Props {
  all: readonly Exchange[];
  outbox: OutboxView;
  open: boolean;
  service: ServiceState;
  stopping: string | null;
  anchor: string | null;
  actions: ExchangeActions;
}

export const Transcript = memo(function Transcript({ all, outbox, open, service, stopping, anchor, actions }: Props) {
  const hidden = useProgressiveRender(all.length);
  const lastSent = all.findLast(({ unsent }) => !unsent);
  const idle = all.every(({ live }) => !live);
  return (
    <div className="transcript" role="log" aria-live="off" aria-label="Conversation" aria-busy={hidden > 0}>
      {all.slice(hidden).map((exchange) => (
        <ExchangeView
          key={exchange.human.id}
          human={exchange.human}
          reply={exchange.reply}
          live={exchange.live}
          unsent={exchange.unsent}
          delivery={exchange.unsent && deliveryStatusOf(exchange.unsent, outbox, open)}
          service={exchange.live ? service : 'ok'}
          stopping={stopping === exchange.human.id}
          canRetry={open && idle && exchange === lastSent}
          anchored={anchor === exchange.human.id && exchange === all.at(-1)}
          actions={actions}
        />
      ))}
    </div>
  );
});
