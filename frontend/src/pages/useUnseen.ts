// How many messages came while the person was not at the end.
import { useState } from 'react';

export function useUnseen(count: number, atEnd: boolean): number {
  const [seen, setSeen] = useState(count);
  if (atEnd && seen !== count) setSeen(count);
  return Math.max(0, count - seen);
}
