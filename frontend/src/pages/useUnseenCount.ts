// How many messages arrived while the page was not scrolled to its end.
import { useState } from 'react';

export function useUnseenCount(count: number, atEnd: boolean): number {
  const [seen, setSeen] = useState(count);
  if (atEnd && seen !== count) setSeen(count);
  return Math.max(0, count - seen);
}
