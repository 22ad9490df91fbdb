// The browser's storages. If one is not writable (private window, full disk), values live as long as the page.

export interface Storage {
  /** All keys with this prefix, in no order. */
  keys(prefix: string): string[];
  read(key: string): unknown;
  write(key: string, value: unknown): void;
  remove(key: string): void;
}

/** `area` throws if the browser does not allow this storage. */
function storageOf(area: () => globalThis.Storage): Storage {
  const unstored = new Map<string, string>();
  const storedKeys = (): string[] => {
    try {
      return Object.keys(area());
    } catch {
      return [];
    }
  };
  return {
    keys(prefix) {
      return [...new Set([...unstored.keys(), ...storedKeys()])].filter((key) => key.startsWith(prefix));
    },
    read(key) {
      try {
        return JSON.parse(unstored.get(key) ?? area().getItem(key) ?? 'null') as unknown;
      } catch {
        return null;
      }
    },
    write(key, value) {
      const text = JSON.stringify(value);
      try {
        area().setItem(key, text);
        unstored.delete(key);
      } catch {
        unstored.set(key, text);
      }
    },
    remove(key) {
      unstored.delete(key);
      try {
        area().removeItem(key);
      } catch {
        // If the storage is not writable, the value was never in it.
      }
    },
  };
}

/** Shared by all tabs. Survives the browser's end. */
export const browserStorage = storageOf(() => localStorage);

/** This tab's own. Survives a reload. */
export const tabStorage = storageOf(() => sessionStorage);
