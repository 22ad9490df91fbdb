// Reconnects when the browser returns from the background, from sleep or from being offline.

export interface Reconnectable {
  readonly isOpen: boolean;
  readonly isWanted: boolean;
  connectNow(): void;
  networkLost(): void;
}

/** If the tab was hidden this long, the machine may have slept and the socket may be dead without notice. */
const LONG_HIDDEN_MS = 20_000;

/** Returns a function that removes the listeners. */
export function bindLifecycle(connection: Reconnectable): () => void {
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
