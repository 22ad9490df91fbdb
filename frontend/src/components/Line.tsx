// The line between the person and the model: the thin bar that says whether they are connected.

/** Where there is nothing to be connected to, it is only drawn: at rest, or cut. */
export type LineState = 'open' | 'opening' | 'down' | 'rest' | 'cut';

const SAID: Partial<Record<LineState, string>> = {
  open: 'Connected',
  opening: 'Connecting',
  down: 'Not connected',
};

export function Line({ state }: { state: LineState }) {
  const said = SAID[state];
  if (said === undefined) return <div className="line" data-state={state} aria-hidden="true" />;
  return <div className="line" data-state={state} role="img" aria-label={said} title={said} />;
}
