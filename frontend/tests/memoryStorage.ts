// A browser's store in memory, and what a tab sees of one that others write to as well.
import type { Storage } from '../src/browser/storage';

export function memoryStorage(kept = new Map<string, string>()): Storage {
  return {
    keys: (prefix) => [...kept.keys()].filter((key) => key.startsWith(prefix)),
    read: (key) => JSON.parse(kept.get(key) ?? 'null') as unknown,
    write: (key, value) => kept.set(key, JSON.stringify(value)),
    remove: (key) => kept.delete(key),
  };
}

/** The view of a tab that has not heard of the others' writes yet; who writes a key last has the say, as in browsers. */
export function lateView(kept: Map<string, string>): Storage {
  const storages = [memoryStorage(new Map(kept)), memoryStorage(kept)] as const;
  return {
    ...storages[0],
    write: (key, value) => storages.forEach((storage) => storage.write(key, value)),
    remove: (key) => storages.forEach((storage) => storage.remove(key)),
  };
}
