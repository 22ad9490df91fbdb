// The conversations opened in this browser, newest first. No other list of them exists.
import { list, shape, text } from '../protocol/shape';
import type { Storage } from './storage';

export interface Recent {
  token: string;
  name: string;
  /** The first message of the person, or empty. */
  about: string;
  /** When it was last opened or written to, ISO 8601. */
  at: string;
}

const KEY = 'parley:recent';
const MOST = 30;
const ABOUT_LENGTH = 90;

const recents = list(shape<Recent>({ token: text, name: text, about: text, at: text }));

export function readRecents(storage: Storage): Recent[] {
  const stored = storage.read(KEY);
  return recents(stored) ? stored : [];
}

export function remember(storage: Storage, recent: Recent): void {
  // Of conversations in which nothing was said, only the newest is worth a line.
  const others = readRecents(storage).filter(({ token, about }) => token !== recent.token && about !== '');
  storage.write(KEY, [{ ...recent, about: beginningOf(recent.about) }, ...others].slice(0, MOST));
}

function beginningOf(text: string): string {
  const characters = Array.from(text);
  return characters.length <= ABOUT_LENGTH ? text : `${characters.slice(0, ABOUT_LENGTH).join('').trimEnd()}…`;
}

export function forget(storage: Storage, token: string): Recent[] {
  const others = readRecents(storage).filter((recent) => recent.token !== token);
  storage.write(KEY, others);
  return others;
}
