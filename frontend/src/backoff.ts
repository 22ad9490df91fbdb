// How long to wait before coming back: grows with each failure, never the same for two pages.
import type { Cause } from './protocol/closeCodes';

const FIRST_MS = 500;
const LONGEST_MS = 15_000;

/** Room is made by a person who closes another tab; until then each try is refused. */
const ROOM_MS = 10_000;

/** A restarting server gets its clients back over this long, not all in one instant. */
const RESTART_SPREAD_MS = 2_000;

/**
 * Milliseconds until the next try.
 *
 * `failures`: tries that failed in a row, 0 right after a connection that worked.
 * `random`: in [0, 1).
 */
export function delayBefore(failures: number, cause: Cause, random: number): number {
  if (failures === 0 && cause === 'restarting') return 100 + random * RESTART_SPREAD_MS;
  if (cause === 'crowded') return ROOM_MS * (0.5 + random);
  const longest = Math.min(LONGEST_MS, FIRST_MS * 2 ** failures);
  return longest / 2 + (random * longest) / 2;
}
