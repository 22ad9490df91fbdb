// The states a connection can be in.
import type { DisconnectCause, Refusal } from '../protocol/closeCodes';

export type Status =
  /** `downSince`: when the connection was lost or first requested, in ms since the epoch. */
  | { state: 'connecting'; downSince: number; cause: Problem | null }
  | { state: 'open' }
  /** Between two attempts; `retryAt` in ms since the epoch. */
  | { state: 'waiting'; downSince: number; cause: Problem; retryAt: number }
  /** Does not reconnect until `connectNow`. */
  | { state: 'refused'; why: Refusal }
  | { state: 'idle' };

/** `blocked`: HTTP works but WebSockets do not, as with a proxy that refuses Upgrade. */
export type Problem = DisconnectCause | 'blocked';
