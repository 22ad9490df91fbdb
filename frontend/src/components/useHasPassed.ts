// Whether a moment has passed; re-renders when it does.
import { useEffect, useState } from 'react';

/** True from `moment` (ms since the epoch) on; always false for null. */
export function useHasPassed(moment: number | null): boolean {
  const [passed, setPassed] = useState<number | null>(null);
  useEffect(() => {
    if (moment === null) return;
    const timer = setTimeout(() => setPassed(moment), Math.max(0, moment - Date.now()));
    return () => clearTimeout(timer);
  }, [moment]);
  return moment !== null && passed === moment;
}
