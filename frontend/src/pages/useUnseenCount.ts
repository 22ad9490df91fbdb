// How many messages arrived while the page was not scrolled to its end.
import { useState } from 'react';
import type { Message } from '../protocol/frames';

export function useUnseenCount(messages: readonly Message[], atEnd: boolean): number {
  const last = messages.at(-1)?.id;
  const [seen, setSeen] = useState(last);
  if (atEnd && seen !== last) setSeen(last);
  // A seen reply may have been replaced by another one, which then is what is new.
  const at = messages.findIndex(({ id }) => id === seen);
  return at < 0 ? Math.min(1, messages.length) : messages.length - 1 - at;
}
