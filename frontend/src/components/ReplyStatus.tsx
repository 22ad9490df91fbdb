// Why a reply has no new text yet. Empty when text arrives.
import type { LiveReply } from '../conversation/state';
import type { ServiceState, WaitReason } from '../protocol/frames';
import { Countdown } from './Countdown';

interface Props {
  live: LiveReply;
  service: ServiceState;
  stopping: boolean;
  begun: boolean;
}

const REASONS: Record<WaitReason, string> = {
  model_loading: 'The model is loading; this can take a while.',
  rate_limited: 'The model’s host asks for a pause.',
  retrying: 'The model did not answer; trying again.',
};

const SERVICE: Record<Exclude<ServiceState, 'ok'>, string> = {
  no_worker: 'No worker is running right now. Your message is kept and will be answered when one is.',
  storage_away: 'The server cannot reach its storage right now. It goes on by itself.',
};

export function ReplyStatus({ live, service, stopping, begun }: Props) {
  if (stopping) return <p className="reply-status">Stopping…</p>;
  if (service !== 'ok') return <p className="reply-status">{SERVICE[service]}</p>;
  if (live.phase === 'waiting' && live.reason) {
    return (
      <p className="reply-status">
        <span>{REASONS[live.reason]}</span>
        {live.retryAt !== null && <Countdown until={live.retryAt} />}
      </p>
    );
  }
  if (begun) return null;
  return <p className="reply-status delayed">{live.phase === 'writing' ? 'Writing…' : 'Waiting for its turn…'}</p>;
}
