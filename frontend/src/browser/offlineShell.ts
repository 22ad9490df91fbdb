// Registers the service worker, which lets the page open without a network.

export function keepForOffline(): void {
  // Missing on an insecure origin and in some private windows. The page works without it.
  if (!import.meta.env.PROD || !('serviceWorker' in navigator)) return;
  navigator.serviceWorker.register('/sw.js').catch(() => undefined);
}
