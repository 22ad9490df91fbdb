// What a person sent and the server has not accepted yet; kept in the browser, a list for each conversation.
import type { Storage } from '../browser/storage';
import type { Entry } from '../conversation/exchanges';
import { list, optional, shape, text } from '../protocol/shape';

const entries = list(shape<Entry>({ id: text, text, at: text, refused: optional(text) }));

const keyOf = (token: string) => `parley:outbox:${token}`;

export function readEntries(storage: Storage, token: string): Entry[] {
  const stored = storage.read(keyOf(token));
  return entries(stored) ? stored : [];
}

/**
 * Changes what is stored and returns it. What lies there is read first: another tab may have put
 * something in since.
 */
export function changeEntries(
  storage: Storage,
  token: string,
  change: (entries: Entry[]) => Entry[],
): Entry[] {
  const changed = change(readEntries(storage, token));
  if (changed.length === 0) storage.remove(keyOf(token));
  else storage.write(keyOf(token), changed);
  return changed;
}
