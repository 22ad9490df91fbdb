// The unsent text of each conversation. Each tab has its own, and a new tab begins with the one that was written last.
import { browserStorage, tabStorage } from './storage';

const keyOf = (token: string) => `parley:draft:${token}`;

export function readDraft(token: string): string {
  const draft = tabStorage.read(keyOf(token)) ?? browserStorage.read(keyOf(token));
  return typeof draft === 'string' ? draft : '';
}

export function keepDraft(token: string, draft: string): void {
  const key = keyOf(token);
  const before = readDraft(token);
  tabStorage.write(key, draft);
  if (draft !== '') browserStorage.write(key, draft);
  // Another tab may have written its own draft since.
  else if (browserStorage.read(key) === before) browserStorage.remove(key);
}

/** The draft is gone from this tab and from new ones. */
export function dropDraft(token: string): void {
  tabStorage.remove(keyOf(token));
  browserStorage.remove(keyOf(token));
}
