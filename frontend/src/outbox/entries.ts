// Messages whose reply has not ended yet, kept in the browser. Each has a key of its own, because tabs see each
// other's writes late: with one shared list, a tab would overwrite what another tab has just added.
import type { Storage } from '../browser/storage';
import type { OutboxEntry } from '../conversation/exchanges';
import { flag, list, optional, shape, text } from '../protocol/shape';

const isEntry = shape<OutboxEntry>({ id: text, text, at: text, refused: optional(text), accepted: optional(flag), replaces: optional(text) });

const isList = list(isEntry);

const keyOf = (token: string, id: string) => `parley:outbox:${token}:${id}`;

/** Oldest first. */
export function readEntries(storage: Storage, token: string): OutboxEntry[] {
  takeOverList(storage, token);
  return storage
    .keys(keyOf(token, ''))
    .map((key) => storage.read(key))
    .filter(isEntry)
    .sort((one, other) => (one.at < other.at ? -1 : 1));
}

/** Adds the entry, or replaces the one with its id. */
export function putEntry(storage: Storage, token: string, entry: OutboxEntry): void {
  storage.write(keyOf(token, entry.id), entry);
}

export function dropEntry(storage: Storage, token: string, id: string): void {
  storage.remove(keyOf(token, id));
}

/** The current time as ISO 8601, but later than all entries, even if the clock was set back. */
export function nextMoment(entries: readonly OutboxEntry[]): string {
  const last = Math.max(...entries.map(({ at }) => Date.parse(at) || 0), 0);
  return new Date(Math.max(Date.now(), last + 1)).toISOString();
}

/** An earlier version of the page kept a list. Moves its messages to keys of their own. */
function takeOverList(storage: Storage, token: string): void {
  const key = `parley:outbox:${token}`;
  const before = storage.read(key);
  if (!isList(before)) return;
  before.forEach((entry) => putEntry(storage, token, entry));
  storage.remove(key);
}
