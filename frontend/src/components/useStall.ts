// How long a growing text has not grown.
import { useEffect, useState } from 'react';

export type Stall = 'none' | 'short' | 'long';

const SHORT_MS = 3_000;
const LONG_MS = 10_000;

export function useStall(text: string, isGrowing: boolean): Stall {
  const [last, setLast] = useState<{ text: string; stall: Stall }>({ text: '', stall: 'none' });
  useEffect(() => {
    if (!isGrowing) return;
    const timers = [
      setTimeout(() => setLast({ text, stall: 'short' }), SHORT_MS),
      setTimeout(() => setLast({ text, stall: 'long' }), LONG_MS),
    ];
    return () => timers.forEach(clearTimeout);
  }, [text, isGrowing]);
  return isGrowing && last.text === text ? last.stall : 'none';
}
