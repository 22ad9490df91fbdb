// The state of the connection bar.
import type { ConnectionBarState } from '../components/ConnectionBar';
import { QUIET_MS } from '../components/Banner';
import { useHasPassed } from '../components/useHasPassed';
import type { Status } from '../connection/status';

/** A short interruption shows as connecting, not as down. */
export function useConnectionBar(link: Status): ConnectionBarState {
  const between = link.state === 'connecting' || link.state === 'waiting';
  const long = useHasPassed(between ? link.downSince + QUIET_MS : null);
  if (link.state === 'open') return 'open';
  if (link.state === 'refused') return 'down';
  return between && long ? 'down' : 'opening';
}
