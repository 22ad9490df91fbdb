// How long a growing text has not grown.
import { useEffect, useState } from 'react';

export type Silence = 'none' | 'short' | 'long';

const SHORT_MS = 3_000;
const LONG_MS = 10_000;

export function useSilence(text: string, isGrowing: boolean): Silence {
  const [last, setLast] = useState<{ text: string; silence: Silence }>({ text: '', silence: 'none' });
  useEffect(() => {
    if (!isGrowing) return;
    const timers = [
      setTimeout(() => setLast({ text, silence: 'short' }), SHORT_MS),
      setTimeout(() => setLast({ text, silence: 'long' }), LONG_MS),
    ];
    return () => timers.forEach(clearTimeout);
  }, [text, isGrowing]);
  return isGrowing && last.text === text ? last.silence : 'none';
}
