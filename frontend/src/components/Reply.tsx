// The reply to one message: complete, growing, waiting, stopped or failed. The line at its side shows which.
import type { LiveReply } from '../conversation/state';
import type { BotMessage, Failure, ServiceState } from '../protocol/frames';
import { useStreamingText } from '../useConversation';
import { TimeAgo } from './TimeAgo';
import { CopyButton } from './CopyButton';
import { Markdown } from './markdown/Markdown';
import { ReplyStatus } from './ReplyStatus';

interface Props {
  reply: BotMessage | null;
  live: LiveReply | null;
  failed: Failure | null;
  service: ServiceState;
  stopping: boolean;
  /** Only the last message can be answered again, and only while no reply is being written. */
  canRetry: boolean;
  /** Id of the message that this reply answers. */
  to: string;
  onRetry: (to: string) => void;
}

type ReplyAppearance = 'whole' | 'growing' | 'waiting' | 'stopped' | 'failed';

function appearanceOf({ reply, live, failed }: Props, streamingText: string): ReplyAppearance {
  if (live) return live.phase === 'writing' && streamingText !== '' ? 'growing' : 'waiting';
  if (failed) return 'failed';
  return reply?.finish_reason === 'stopped' ? 'stopped' : 'whole';
}

export function Reply(props: Props) {
  const { reply, live, failed, service, stopping } = props;
  const streamingText = useStreamingText(live !== null && live.phase !== 'queued');
  const before = reply?.text ?? failed?.text ?? '';
  // The earlier reply stays visible until the new one has text.
  const old = live !== null && streamingText === '' && before !== '';
  const text = live && !old ? streamingText : before;
  return (
    <article className="by-model" aria-label="Reply" aria-busy={live !== null} data-appearance={appearanceOf(props, streamingText)} data-old={old || undefined}>
      {text !== '' && <Markdown text={text} />}
      {live && <ReplyStatus live={live} service={service} stopping={stopping} begun={streamingText !== ''} />}
      {!live && <Ending {...props} />}
    </article>
  );
}

/** The footer of a reply that is no longer being written. */
function Ending({ reply, failed, canRetry, to, onRetry }: Props) {
  const stopped = reply?.finish_reason === 'stopped';
  const again = failed !== null || stopped;
  const retry = failed ? failed.retryable && canRetry : canRetry;
  return (
    <footer>
      {failed && <span className="failure">{failed.detail}</span>}
      {!failed && stopped && <span className="end-note">{reply.text ? 'Stopped.' : 'Stopped before its first word.'}</span>}
      {!failed && reply?.finish_reason === 'length' && <span className="end-note">Reached its length limit.</span>}
      {reply && !failed && <TimeAgo timestamp={reply.timestamp} />}
      <span className="actions">
        {reply?.text && <CopyButton text={reply.text} label="Copy reply" />}
        {retry && (
          <button type="button" className={again ? 'compact' : 'quiet'} onClick={() => onRetry(to)}>
            {again ? 'Retry' : 'Regenerate'}
          </button>
        )}
      </span>
    </footer>
  );
}
