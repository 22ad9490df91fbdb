// The three addresses of the page. With so few, the History API is router enough.

export type Route = { page: 'home' } | { page: 'chat'; token: string } | { page: 'unknown' };

export function routeOf(path: string): Route {
  if (path === '/') return { page: 'home' };
  const token = /^\/chat\/([\w-]+)\/?$/.exec(path)?.[1];
  return token === undefined ? { page: 'unknown' } : { page: 'chat', token };
}

export const pathOfChat = (token: string): string => `/chat/${token}`;

export function navigate(path: string): void {
  history.pushState(null, '', path);
  dispatchEvent(new PopStateEvent('popstate'));
  scrollTo(0, 0);
}
