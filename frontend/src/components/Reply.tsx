// The model's answer to one message: whole, growing, waited for, stopped or failed. The line at its side says which.
import type { LiveReply } from '../conversation/state';
import type { BotMessage, Failure, ServiceState } from '../protocol/frames';
import { useWords } from '../useConversation';
import { Ago } from './Ago';
import { CopyButton } from './CopyButton';
import { Markdown } from './markdown/Markdown';
import { WaitNote } from './WaitNote';

interface Props {
  reply: BotMessage | null;
  live: LiveReply | null;
  failed: Failure | null;
  service: ServiceState;
  stopping: boolean;
  /** Whether another answer may be asked for: only to the last message, and not while one is written. */
  canRetry: boolean;
  /** The message that it answers. */
  to: string;
  onRetry: (to: string) => void;
}

type Looks = 'whole' | 'growing' | 'waiting' | 'stopped' | 'failed';

function looksOf({ reply, live, failed }: Props, words: string): Looks {
  if (live) return live.phase === 'writing' && words !== '' ? 'growing' : 'waiting';
  if (failed) return 'failed';
  return reply?.finish_reason === 'stopped' ? 'stopped' : 'whole';
}

export function Reply(props: Props) {
  const { reply, live, failed, service, stopping } = props;
  const words = useWords(live !== null && live.phase !== 'queued');
  const before = reply?.text ?? failed?.text ?? '';
  // While a second answer has no words yet, the first one stays in sight.
  const old = live !== null && words === '' && before !== '';
  const text = live && !old ? words : before;
  return (
    <article className="said by-model" aria-label="Reply" aria-busy={live !== null} data-looks={looksOf(props, words)} data-old={old || undefined}>
      {text !== '' && <Markdown text={text} />}
      {live && <WaitNote live={live} service={service} stopping={stopping} begun={words !== ''} />}
      {!live && <Ending {...props} />}
    </article>
  );
}

/** What stands under a reply that is no longer being written. */
function Ending({ reply, failed, canRetry, to, onRetry }: Props) {
  const stopped = reply?.finish_reason === 'stopped';
  const again = failed !== null || stopped;
  const retry = failed ? failed.retryable && canRetry : canRetry;
  return (
    <footer>
      {failed && <span className="failure">{failed.detail}</span>}
      {!failed && stopped && <span className="ended">{reply.text ? 'Stopped.' : 'Stopped before its first word.'}</span>}
      {!failed && reply?.finish_reason === 'length' && <span className="ended">Reached its length limit.</span>}
      {reply && !failed && <Ago timestamp={reply.timestamp} />}
      <span className="actions">
        {reply?.text && <CopyButton text={reply.text} label="Copy reply" />}
        {retry && (
          <button type="button" className={again ? 'slim' : 'quiet'} onClick={() => onRetry(to)}>
            {again ? 'Retry' : 'Regenerate'}
          </button>
        )}
      </span>
    </footer>
  );
}
