// Draws a long list in portions, the end first, so that no single portion holds the page up.
import { useEffect, useState } from 'react';

/** More than a tall window holds. */
const FIRST = 16;
const PORTION = 8;

/** How many entries at the start are not to be drawn yet. */
export function useFilling(count: number): number {
  const [shown, setShown] = useState(FIRST);
  const hidden = Math.max(0, count - shown);
  useEffect(() => {
    if (hidden === 0) return;
    const timer = setTimeout(() => setShown((before) => before + PORTION), 16);
    return () => clearTimeout(timer);
  }, [hidden]);
  return hidden;
}
