// The page's three addresses. So few that the history interface itself is the router.

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
