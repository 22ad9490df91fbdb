// When the machine comes back to life: tells a connection that its socket is not to be believed.

export interface Sleeper {
  readonly isOpen: boolean;
  readonly isWanted: boolean;
  connectNow(): void;
  networkLost(): void;
}

/** A tab hidden this long may have slept, and its socket died without a word. */
const LONG_HIDDEN_MS = 20_000;

/** Returns how to stop listening. */
export function wakeWith(connection: Sleeper): () => void {
  let hiddenAt: number | null = document.hidden ? Date.now() : null;
  const comeBack = (always: boolean) => {
    if (connection.isWanted && (always || !connection.isOpen)) connection.connectNow();
  };
  const onVisibility = () => {
    if (document.hidden) {
      hiddenAt = Date.now();
      return;
    }
    comeBack(hiddenAt !== null && Date.now() - hiddenAt > LONG_HIDDEN_MS);
    hiddenAt = null;
  };
  const onOnline = () => comeBack(true);
  const onOffline = () => connection.networkLost();
  const onPageShow = (event: PageTransitionEvent) => comeBack(event.persisted);
  document.addEventListener('visibilitychange', onVisibility);
  addEventListener('online', onOnline);
  addEventListener('offline', onOffline);
  addEventListener('pageshow', onPageShow);
  return () => {
    document.removeEventListener('visibilitychange', onVisibility);
    removeEventListener('online', onOnline);
    removeEventListener('offline', onOffline);
    removeEventListener('pageshow', onPageShow);
  };
}
