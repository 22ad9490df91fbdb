// Given the shared example frames, expect that the page reads every one and doubts what is none.
import { describe, expect, it } from 'vitest';
import { isAfter } from '../src/protocol/cursor';
import type { ClientFrame } from '../src/protocol/frames';
import { parseFrame } from '../src/protocol/parse';
import { clientExamples, serverExamples } from './examples';

describe('frames from the server', () => {
  it.each(serverExamples)('reads $name whole', ({ frame }) => {
    expect(parseFrame(JSON.stringify(frame))).toEqual(frame);
  });

  it.each(serverExamples)('reads $name with fields added that are not known yet', ({ frame }) => {
    expect(parseFrame(JSON.stringify({ ...frame, added_later: { deep: [1] } }))).toMatchObject(frame);
  });

  const optional = new Set(['to', 'failed', 'reason', 'retry_in', 'id']);
  it.each(serverExamples)('refuses $name when a field that it needs is missing', ({ frame }) => {
    for (const field of Object.keys(frame)) {
      if (frame.type === 'error' && optional.has(field)) continue;
      if (frame.type === 'reply.failed' && field === 'text') continue;
      const { [field]: _, ...rest } = frame;
      expect(parseFrame(JSON.stringify(rest)), `without ${field}`).toBeNull();
    }
  });

  it.each([
    ['a type not known yet', '{"type":"reply.sung","cursor":"1-0"}'],
    ['a type that is a word of the language', '{"type":"constructor"}'],
    ['no JSON', 'Unexpected token'],
    ['a list', '[]'],
    ['null', 'null'],
    ['a number', '7'],
    ['nothing', ''],
    ['a cursor that is none', '{"type":"reply.started","cursor":"latest","id":"a","to":"b"}'],
  ])('ignores %s', (_, data) => {
    expect(parseFrame(data)).toBeNull();
  });

  it('ignores binary data', () => {
    expect(parseFrame(new ArrayBuffer(4))).toBeNull();
  });
});

describe('frames from the page', () => {
  it('are those of the examples, each type at least once', () => {
    const types: ClientFrame['type'][] = [
      'message.send', 'message.edit', 'reply.stop', 'reply.retry', 'reply.continue', 'history.before',
    ];
    expect(new Set(clientExamples.map(({ frame }) => frame.type))).toEqual(new Set(types));
  });
});

describe('cursors', () => {
  it.each([
    ['2-0', '1-9', true],
    ['1-10', '1-9', true],
    ['10-0', '9-0', true],
    ['1-1', '1-1', false],
    ['1-0', '1-1', false],
    ['1732300000000-0', '1732300000001-0', false],
  ])('%s after %s: %s', (one, other, after) => {
    expect(isAfter(one, other)).toBe(after);
  });
});
