// Why a reply has no new text yet. Empty when text arrives.
import type { LiveReply } from '../conversation/state';
import type { ServiceState, WaitReason } from '../protocol/frames';
import { Countdown } from './Countdown';
import type { Silence } from './useSilence';

interface Props {
  live: LiveReply;
  service: ServiceState;
  /** Whether the page is connected. */
  open: boolean;
  stopping: boolean;
  /** Whether the reply has text. */
  begun: boolean;
  /** How long no new text came. */
  silence: Silence;
}

const REASONS: Record<WaitReason, string> = {
  model_loading: 'The model is loading. This can take a while.',
  rate_limited: 'The model is busy.',
  retrying: 'No answer from the model.',
};

const SERVICE: Record<Exclude<ServiceState, 'ok'>, string> = {
  no_worker: 'Nobody can answer just now. Your message is kept and will be answered soon.',
  storage_away: 'The server cannot reach its storage just now. The reply continues by itself.',
};

export function ReplyStatus({ live, service, open, stopping, begun, silence }: Props) {
  if (stopping) return <p className="reply-status">Stopping…</p>;
  if (!open) return <p className="reply-status delayed">Waiting for the connection…</p>;
  if (service !== 'ok') return <p className="reply-status">{SERVICE[service]}</p>;
  if (live.phase === 'waiting' && live.reason) {
    return (
      <p className="reply-status">
        <span>{REASONS[live.reason]}</span>
        {live.retryAt !== null && <Countdown action="Trying again" until={live.retryAt} />}
      </p>
    );
  }
  if (live.phase !== 'writing') return <p className="reply-status delayed">Waiting for a free slot…</p>;
  if (silence === 'long') return <p className="reply-status">This takes longer than usual.</p>;
  if (begun) return silence === 'short' ? <p className="reply-status">Still writing…</p> : null;
  return <p className="reply-status delayed">Writing…</p>;
}
