// Whether a moment has passed.
import { useEffect, useState } from 'react';

/** True from `moment` (ms of the clock) on; false for null. */
export function useAfter(moment: number | null): boolean {
  const [passed, setPassed] = useState<number | null>(null);
  useEffect(() => {
    if (moment === null) return;
    const timer = setTimeout(() => setPassed(moment), Math.max(0, moment - Date.now()));
    return () => clearTimeout(timer);
  }, [moment]);
  return moment !== null && passed === moment;
}
