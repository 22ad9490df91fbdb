// A browser's store in memory.
import type { Storage } from '../src/browser/storage';

export function memoryStorage(): Storage {
  const kept = new Map<string, string>();
  return {
    read: (key) => JSON.parse(kept.get(key) ?? 'null') as unknown,
    write: (key, value) => kept.set(key, JSON.stringify(value)),
    remove: (key) => kept.delete(key),
  };
}
