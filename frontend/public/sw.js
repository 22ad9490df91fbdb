// Service worker: keeps the files of the page, so that a reload without a network still shows it. It keeps nothing of
// a conversation. To drop what it keeps, change the name of the cache; to remove it altogether, serve 404 for this file.

const CACHE = 'parley-shell-1';

/** Any address of the page is answered with the same document. */
const SHELL = '/';

addEventListener('install', (event) => {
  event.waitUntil(fetch(SHELL).then(keep).then(() => self.skipWaiting()));
});

addEventListener('activate', (event) => {
  event.waitUntil(dropOlderCaches().then(() => self.clients.claim()));
});

addEventListener('fetch', (event) => {
  const { request } = event;
  const { origin, pathname } = new URL(request.url);
  if (request.method !== 'GET' || origin !== location.origin) return;
  if (request.mode === 'navigate') event.respondWith(document(event));
  else if (pathname.startsWith('/assets/') || pathname === '/icon.svg') event.respondWith(asset(request));
});

/** From the network wherever there is one, so that nobody is left with an old page. */
async function document(event) {
  try {
    const response = await fetch(event.request);
    if (response.ok) event.waitUntil(keep(response.clone()));
    return response;
  } catch (error) {
    const kept = await caches.match(SHELL, { ignoreVary: true });
    if (kept) return kept;
    throw error;
  }
}

/** The name of an asset contains its hash, so a kept one is never old. Scripts are requested with other headers. */
const asset = async (request) => (await caches.match(request, { ignoreVary: true })) ?? fetch(request);

/** Keeps a document with all the assets that it names, and no others. */
async function keep(response) {
  const cache = await caches.open(CACHE);
  const html = await response.clone().text();
  const named = [...html.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path]) => path);
  const kept = (await cache.keys()).map(({ url }) => new URL(url).pathname);
  await cache.addAll(named.filter((path) => !kept.includes(path)));
  await cache.put(SHELL, response);
  await Promise.all(kept.filter((path) => path !== SHELL && !named.includes(path)).map((path) => cache.delete(path)));
}

async function dropOlderCaches() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
}
