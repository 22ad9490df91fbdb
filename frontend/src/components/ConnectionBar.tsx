// The thin bar at the top that shows the state of the connection.

/** `rest` and `cut` are decoration on pages without a connection. */
export type ConnectionBarState = 'open' | 'opening' | 'down' | 'rest' | 'cut';

const SAID: Partial<Record<ConnectionBarState, string>> = {
  open: 'Connected',
  opening: 'Connecting',
  down: 'Not connected',
};

export function ConnectionBar({ state }: { state: ConnectionBarState }) {
  const said = SAID[state];
  if (said === undefined) return <div className="connection-bar" data-state={state} aria-hidden="true" />;
  return <div className="connection-bar" data-state={state} role="img" aria-label={said} title={said} />;
}
