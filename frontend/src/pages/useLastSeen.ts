// Keeps what was last seen of a conversation, and gives it back where the server cannot be reached.
import { useEffect, useState } from 'react';
import { keepLastSeen, readLastSeen, type LastSeen } from '../browser/lastSeen';
import { browserStorage } from '../browser/storage';
import type { View } from '../conversation/state';

const DELAY_MS = 500;

export function useLastSeen(token: string, { phase, name, sessionStart, model, messages }: View): LastSeen | null {
  const [before] = useState(() => readLastSeen(browserStorage, token));
  useEffect(() => {
    if (phase !== 'ready' || messages.length === 0) return;
    // Not in the frame that draws the end of a reply.
    const timer = setTimeout(() => {
      const at = new Date().toISOString();
      keepLastSeen(browserStorage, token, { name, sessionStart, model, messages: [...messages], at });
    }, DELAY_MS);
    return () => clearTimeout(timer);
  }, [token, phase, name, sessionStart, model, messages]);
  return phase === 'loading' ? before : null;
}
