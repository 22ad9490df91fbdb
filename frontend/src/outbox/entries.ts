// What a person sent and the server has not accepted yet; kept in the browser, each message under a key of its own.
// Tabs see each other's writes late: in a list that they share, one would write over what another has just put in.
import type { Storage } from '../browser/storage';
import type { Entry } from '../conversation/exchanges';
import { list, optional, shape, text } from '../protocol/shape';

const isEntry = shape<Entry>({ id: text, text, at: text, refused: optional(text) });

const isList = list(isEntry);

const keyOf = (token: string, id: string) => `parley:outbox:${token}:${id}`;

/** Oldest first. */
export function readEntries(storage: Storage, token: string): Entry[] {
  takeOverList(storage, token);
  return storage
    .keys(keyOf(token, ''))
    .map((key) => storage.read(key))
    .filter(isEntry)
    .sort((one, other) => (one.at < other.at ? -1 : 1));
}

/** Puts it in, or in the place of the one with its id. */
export function putEntry(storage: Storage, token: string, entry: Entry): void {
  storage.write(keyOf(token, entry.id), entry);
}

export function dropEntry(storage: Storage, token: string, id: string): void {
  storage.remove(keyOf(token, id));
}

/** ISO 8601: now, but after what waits already, whatever the clock says. */
export function nextMoment(entries: readonly Entry[]): string {
  const last = Math.max(...entries.map(({ at }) => Date.parse(at) || 0), 0);
  return new Date(Math.max(Date.now(), last + 1)).toISOString();
}

/** A page of before may have left such a list, with something not sent yet. */
function takeOverList(storage: Storage, token: string): void {
  const key = `parley:outbox:${token}`;
  const before = storage.read(key);
  if (!isList(before)) return;
  before.forEach((entry) => putEntry(storage, token, entry));
  storage.remove(key);
}
