// The last state of a conversation that this browser saw, for a reload without a network. It goes with the conversation.
import type { Message, ModelInfo } from '../protocol/frames';
import { message } from '../protocol/parse';
import { flag, list, shape, text } from '../protocol/shape';
import type { Storage } from './storage';

export interface LastSeen {
  name: string;
  sessionStart: string;
  model: ModelInfo;
  messages: Message[];
  /** ISO 8601. */
  at: string;
}

const PREFIX = 'parley:seen:';

/** Of so many conversations. */
const MAX_CONVERSATIONS = 5;

/** Characters of text in each, the latest messages. Browsers allow about five million in all. */
const MAX_TEXT = 100_000;

const lastSeen = shape<LastSeen>({
  name: text,
  sessionStart: text,
  model: shape<ModelInfo>({ name: text, stand_in: flag }),
  messages: list(message),
  at: text,
});

export function readLastSeen(storage: Storage, token: string): LastSeen | null {
  const stored = storage.read(PREFIX + token);
  return lastSeen(stored) ? stored : null;
}

export function keepLastSeen(storage: Storage, token: string, seen: LastSeen): void {
  storage.write(PREFIX + token, { ...seen, messages: latest(seen.messages) });
  const keys = storage.keys(PREFIX);
  if (keys.length <= MAX_CONVERSATIONS) return;
  const all = keys.map((key) => ({ key, at: readLastSeen(storage, key.slice(PREFIX.length))?.at ?? '' }));
  const oldest = all.sort((one, other) => (one.at < other.at ? 1 : -1)).slice(MAX_CONVERSATIONS);
  for (const { key } of oldest) storage.remove(key);
}

export const dropLastSeen = (storage: Storage, token: string): void => storage.remove(PREFIX + token);

function latest(messages: readonly Message[]): Message[] {
  let room = MAX_TEXT;
  const first = messages.findLastIndex((each) => (room -= each.text.length) < 0);
  return messages.slice(first + 1);
}
