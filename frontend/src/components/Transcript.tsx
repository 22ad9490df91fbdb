// All messages and replies, oldest first. A long list is rendered from its end, so that it opens at once.
import { memo, type RefObject } from 'react';
import type { Exchange } from '../conversation/exchanges';
import { deliveryStatusOf } from '../outbox/deliveryStatus';
import type { OutboxView } from '../outbox/outbox';
import type { ServiceState } from '../protocol/frames';
import { EarlierMessages } from './EarlierMessages';
import { ExchangeView, type ExchangeActions } from './ExchangeView';
import { KeepPlace } from './KeepPlace';
import { useProgressiveRender } from './useProgressiveRender';

interface Props {
  all: readonly Exchange[];
  /** How many messages the server has before these. */
  earlier: number;
  loadingEarlier: boolean;
  outbox: OutboxView;
  open: boolean;
  service: ServiceState;
  ahead: number | null;
  stopping: string | null;
  anchor: string | null;
  actions: ExchangeActions;
  log: RefObject<HTMLDivElement>;
  onLoadEarlier: () => void;
}

export const Transcript = memo(function Transcript(props: Props) {
  const { all, outbox, open, service, ahead, stopping, anchor, actions, log } = props;
  const hidden = useProgressiveRender(all.length);
  const lastSent = all.findLast(({ unsent }) => !unsent);
  const firstWaiting = all.find(({ live }) => live);
  const idle = !firstWaiting;
  return (
    <div className="transcript" role="log" aria-live="off" aria-label="Conversation" aria-busy={hidden > 0} ref={log} tabIndex={-1}>
      {props.earlier > 0 && hidden === 0 && (
        <EarlierMessages loading={props.loadingEarlier} open={open} onLoad={props.onLoadEarlier} />
      )}
      <KeepPlace first={all[hidden]?.human.id} list={log}>
        {all.slice(hidden).map((exchange) => (
          <ExchangeView
            key={exchange.human.id}
            human={exchange.human}
            reply={exchange.reply}
            live={exchange.live}
            unsent={exchange.unsent}
            delivery={exchange.unsent && deliveryStatusOf(exchange.unsent, outbox, open)}
            service={exchange === firstWaiting ? service : 'ok'}
            ahead={exchange === firstWaiting ? ahead : null}
            open={open || !exchange.live}
            stopping={stopping === exchange.human.id}
            canRetry={open && idle && exchange === lastSent}
            canEdit={open && idle && exchange === all.at(-1)}
            anchored={anchor === exchange.human.id && exchange === all.at(-1)}
            actions={actions}
          />
        ))}
      </KeepPlace>
    </div>
  );
});
