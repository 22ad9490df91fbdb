// What the browser keeps of a conversation for a reload without a network.
import { describe, expect, it } from 'vitest';
import { dropLastSeen, keepLastSeen, readLastSeen } from '../src/browser/lastSeen';
import { human } from './fakeServer';
import { memoryStorage } from './memoryStorage';

const seen = (texts: string[], at = '2026-11-22T20:00:00Z') => ({
  name: 'Ada',
  sessionStart: '2026-11-22T20:00:00Z',
  model: { name: 'gpt-j', stand_in: false },
  messages: texts.map((text, number) => human(`m${number}`, text)),
  at,
});

describe('what was last seen of a conversation', () => {
  it('is given back', () => {
    const storage = memoryStorage();
    keepLastSeen(storage, 't', seen(['Hello']));
    expect(readLastSeen(storage, 't')).toEqual(seen(['Hello']));
    dropLastSeen(storage, 't');
    expect(readLastSeen(storage, 't')).toBeNull();
  });

  it('is not trusted: what lies there may be anyone’s', () => {
    const storage = memoryStorage();
    storage.write('parley:seen:t', { messages: [{ role: 'human' }] });
    expect(readLastSeen(storage, 't')).toBeNull();
  });

  it('is bounded: the latest messages, of the latest conversations', () => {
    const storage = memoryStorage();
    for (let number = 0; number < 9; number += 1) {
      keepLastSeen(storage, `t${number}`, seen(Array<string>(40).fill('x'.repeat(4_000)), `2026-11-22T20:00:0${number}Z`));
    }
    expect(storage.keys('parley:seen:').sort()).toEqual(['4', '5', '6', '7', '8'].map((number) => `parley:seen:t${number}`));
    expect(readLastSeen(storage, 't8')?.messages.map(({ id }) => id).at(-1)).toBe('m39');
    expect(readLastSeen(storage, 't8')?.messages).toHaveLength(25);
  });
});
