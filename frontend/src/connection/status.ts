// The states a connection can be in.
import type { Cause, Refusal } from '../protocol/closeCodes';

export type Status =
  /** `downSince`: when the line went down or was first asked for, in ms of the clock. */
  | { state: 'connecting'; downSince: number; cause: Trouble | null }
  | { state: 'open' }
  /** Between two tries; `retryAt` in ms of the clock. */
  | { state: 'waiting'; downSince: number; cause: Trouble; retryAt: number }
  /** Stays away until `connectNow`. */
  | { state: 'refused'; why: Refusal }
  | { state: 'idle' };

/** `blocked`: pages come through but sockets do not, as with a proxy that refuses Upgrade. */
export type Trouble = Cause | 'blocked';
