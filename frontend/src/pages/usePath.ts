// The path of the current address.
import { useSyncExternalStore } from 'react';

const subscribe = (listener: () => void) => {
  addEventListener('popstate', listener);
  return () => removeEventListener('popstate', listener);
};

export const usePath = (): string => useSyncExternalStore(subscribe, () => location.pathname);
