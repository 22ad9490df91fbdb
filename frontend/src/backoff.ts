// How long to wait before reconnecting: longer after each failure, with random jitter.
import type { DisconnectCause } from './protocol/closeCodes';

const FIRST_MS = 500;
const MAX_MS = 15_000;

/** With too many tabs open, each attempt is refused until the person closes one. */
const CROWDED_MS = 10_000;

/** After a restart, clients reconnect spread over this time, not all at once. */
const RESTART_JITTER_MS = 2_000;

/**
 * Milliseconds until the next attempt.
 *
 * `failures`: failed attempts in a row, 0 right after a connection that worked.
 * `random`: in [0, 1).
 */
export function delayBefore(failures: number, cause: DisconnectCause, random: number): number {
  if (failures === 0 && cause === 'restarting') return 100 + random * RESTART_JITTER_MS;
  if (cause === 'crowded') return CROWDED_MS * (0.5 + random);
  const longest = Math.min(MAX_MS, FIRST_MS * 2 ** failures);
  return longest / 2 + (random * longest) / 2;
}
