// Why a reply has no new text yet. Empty when text arrives.
import type { LiveReply } from '../conversation/state';
import type { ServiceState, WaitReason } from '../protocol/frames';
import { Countdown } from './Countdown';
import type { Stall } from './useStall';

interface Props {
  live: LiveReply;
  service: ServiceState;
  /** How many conversations will be answered first; null if that is not known. */
  ahead: number | null;
  /** Whether the page is connected. */
  open: boolean;
  stopping: boolean;
  /** Whether the reply has text. */
  begun: boolean;
  /** How long no new text came. */
  stall: Stall;
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

function placeOf(ahead: number | null): string {
  if (ahead === null) return '';
  return ahead === 0 ? ' You are next.' : ` ${ahead} ahead of you.`;
}

export function ReplyStatus({ live, service, ahead, open, stopping, begun, stall }: Props) {
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
  if (live.phase !== 'writing') return <p className="reply-status delayed">{`Waiting for a free slot…${placeOf(ahead)}`}</p>;
  if (stall === 'long') return <p className="reply-status">This takes longer than usual.</p>;
  if (begun) return stall === 'short' ? <p className="reply-status">Still writing…</p> : null;
  return <p className="reply-status delayed">Writing…</p>;
}
