// The unsent text of each conversation.
import type { Storage } from './storage';

const keyOf = (token: string) => `parley:draft:${token}`;

export function readDraft(storage: Storage, token: string): string {
  const draft = storage.read(keyOf(token));
  return typeof draft === 'string' ? draft : '';
}

export function keepDraft(storage: Storage, token: string, draft: string): void {
  if (draft === '') storage.remove(keyOf(token));
  else storage.write(keyOf(token), draft);
}
