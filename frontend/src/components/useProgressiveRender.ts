// Renders a long list in batches from its end, so that no batch blocks the page.
import { useEffect, useState } from 'react';

/** More than fit into a tall window. */
const FIRST_BATCH = 16;
const BATCH = 8;

/** How many entries at the start of the list are not rendered yet. */
export function useProgressiveRender(count: number): number {
  const [rendered, setRendered] = useState(FIRST_BATCH);
  const hidden = Math.max(0, count - rendered);
  useEffect(() => {
    if (hidden === 0) return;
    const timer = setTimeout(() => setRendered((before) => before + BATCH), 16);
    return () => clearTimeout(timer);
  }, [hidden]);
  return hidden;
}
