// One message of the person with what became of it.
import { memo } from 'react';
import type { Entry } from '../conversation/exchanges';
import type { LiveReply } from '../conversation/state';
import type { Standing } from '../outbox/standing';
import type { BotMessage, HumanMessage, ServiceState } from '../protocol/frames';
import { PersonMessage } from './PersonMessage';
import { Reply } from './Reply';
import { UnsentNote } from './UnsentNote';

export interface ExchangeActions {
  onRetry: (to: string) => void;
  onAgain: (id: string) => void;
  onTakeBack: (entry: Entry) => void;
}

interface Props {
  human: HumanMessage;
  reply: BotMessage | null;
  live: LiveReply | null;
  unsent: Entry | null;
  standing: Standing | null;
  service: ServiceState;
  stopping: boolean;
  canRetry: boolean;
  /** Takes at least the window's height, so that its reply grows into view below it. */
  anchored: boolean;
  actions: ExchangeActions;
}

export const ExchangeView = memo(function ExchangeView(props: Props) {
  const { human, reply, live, unsent, standing, actions, anchored } = props;
  const note = unsent && standing && (
    <UnsentNote
      standing={standing}
      onAgain={() => actions.onAgain(unsent.id)}
      onTakeBack={() => actions.onTakeBack(unsent)}
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
