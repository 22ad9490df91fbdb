// The reply to one message: complete, growing, waiting, stopped or failed. The line at its side shows which.
import type { LiveReply } from '../conversation/state';
import type { BotMessage, Failure, ServiceState } from '../protocol/frames';
import { useStreamingText } from '../useConversation';
import { CopyButton } from './CopyButton';
import { Markdown } from './markdown/Markdown';
import { ReplyStatus } from './ReplyStatus';
import { TimeAgo } from './TimeAgo';
import { useStall } from './useStall';

interface Props {
  reply: BotMessage | null;
  live: LiveReply | null;
  failed: Failure | null;
  service: ServiceState;
  ahead: number | null;
  /** Whether the page is connected. */
  open: boolean;
  stopping: boolean;
  /** Only the last message can be answered again, and only while no reply is being written. */
  canRetry: boolean;
  /** Id of the message that this reply answers. */
  to: string;
  onRetry: (to: string) => void;
  onContinue: (to: string) => void;
}

type ReplyAppearance = 'whole' | 'growing' | 'paused' | 'waiting' | 'stopped' | 'failed';

function appearanceOf({ reply, live, failed, service, open }: Props, streamingText: string): ReplyAppearance {
  if (live) {
    if (live.phase !== 'writing' || streamingText === '') return 'waiting';
    return open && service === 'ok' ? 'growing' : 'paused';
  }
  if (failed && !reply) return 'failed';
  return reply?.finish_reason === 'stopped' ? 'stopped' : 'whole';
}

export function Reply(props: Props) {
  const { reply, live, failed, service, open, stopping } = props;
  const streamingText = useStreamingText(live !== null && live.phase !== 'queued');
  const stall = useStall(streamingText, live?.phase === 'writing');
  const before = reply?.text ?? failed?.text ?? '';
  // The earlier reply stays visible until the new one has text.
  const old = live !== null && streamingText === '' && before !== '';
  const text = live && !old ? streamingText : before;
  return (
    <article
      className="by-model"
      aria-label="Reply"
      aria-busy={live !== null}
      data-appearance={appearanceOf(props, streamingText)}
      data-old={old || undefined}
    >
      {text !== '' && <Markdown text={text} />}
      {live && (
        <ReplyStatus
          live={live}
          service={service}
          ahead={props.ahead}
          open={open}
          stopping={stopping}
          begun={streamingText !== ''}
          stall={stall}
        />
      )}
      {!live && <ReplyFooter {...props} />}
    </article>
  );
}

/** The footer of a reply that is no longer being written. */
function ReplyFooter({ reply, failed, canRetry, to, onRetry, onContinue }: Props) {
  const stopped = reply?.finish_reason === 'stopped';
  const cutOff = reply?.finish_reason === 'length';
  const isRetry = failed !== null || stopped;
  // A button that is unlikely to help stays quiet.
  const isPromising = failed ? failed.retryable : stopped;
  return (
    <footer>
      {failed && <span className="failure">{reply ? `The new reply failed. ${failed.detail}` : failed.detail}</span>}
      {stopped && <span className="end-note">Stopped.</span>}
      {cutOff && <span className="end-note">Cut off at the length limit.</span>}
      {reply && <TimeAgo timestamp={reply.timestamp} />}
      <span className="actions">
        {cutOff && canRetry && !failed && (
          <button type="button" className="compact" onClick={() => onContinue(to)}>Continue</button>
        )}
        {reply?.text && <CopyButton text={reply.text} label="Copy reply" />}
        {canRetry && (
          <button type="button" className={isPromising ? 'compact' : 'quiet'} onClick={() => onRetry(to)}>
            {isRetry ? 'Retry' : 'Regenerate'}
          </button>
        )}
      </span>
    </footer>
  );
}
