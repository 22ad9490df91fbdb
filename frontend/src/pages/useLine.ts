// The colour of the thin bar for a connection's state.
import type { LineState } from '../components/Line';
import { QUIET_MS } from '../components/Banner';
import { useAfter } from '../components/useAfter';
import type { Status } from '../connection/status';

/** A break shorter than the quiet moment shows as the line being opened, not as one that is down. */
export function useLine(link: Status): LineState {
  const between = link.state === 'connecting' || link.state === 'waiting';
  const long = useAfter(between ? link.downSince + QUIET_MS : null);
  if (link.state === 'open') return 'open';
  if (link.state === 'refused') return 'down';
  return between && long ? 'down' : 'opening';
}
