// Records this conversation in the list of recent ones.
import { useEffect } from 'react';
import { remember } from '../browser/recents';
import { browserStorage } from '../browser/storage';
import type { View } from '../conversation/state';

export function useRecordRecent(token: string, { phase, name, messages }: View): void {
  const first = messages[0]?.text ?? '';
  const said = messages.length;
  useEffect(() => {
    if (phase !== 'ready') return;
    remember(browserStorage, { token, name, about: first, at: new Date().toISOString() });
  }, [token, phase, name, first, said]);
}
