// The browser's localStorage. If it is not writable (private window, full disk), values live as long as the page.

export interface Storage {
  /** All keys with this prefix, in no order. */
  keys(prefix: string): string[];
  read(key: string): unknown;
  write(key: string, value: unknown): void;
  remove(key: string): void;
}

const unstored = new Map<string, string>();

export const browserStorage: Storage = {
  keys(prefix) {
    return [...new Set([...unstored.keys(), ...storedKeys()])].filter((key) => key.startsWith(prefix));
  },
  read(key) {
    try {
      return JSON.parse(unstored.get(key) ?? localStorage.getItem(key) ?? 'null') as unknown;
    } catch {
      return null;
    }
  },
  write(key, value) {
    const text = JSON.stringify(value);
    try {
      localStorage.setItem(key, text);
      unstored.delete(key);
    } catch {
      unstored.set(key, text);
    }
  },
  remove(key) {
    unstored.delete(key);
    try {
      localStorage.removeItem(key);
    } catch {
      // If the storage is not writable, the value was never in it.
    }
  },
};

function storedKeys(): string[] {
  try {
    return Object.keys(localStorage);
  } catch {
    return [];
  }
}
