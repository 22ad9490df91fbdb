// What is drawn again when words come: the reply that grows, and nothing else.
import { renderHook, screen } from '@testing-library/react';
import { Lexer } from 'marked';
import { expect, it, vi } from 'vitest';
import { BlockReader } from '../src/components/markdown/blocks';
import { PersonMessage } from '../src/components/PersonMessage';
import { useStreamingText, StreamingTextContext } from '../src/useConversation';
import { human, type FakeServer } from './fakeServer';
import { openChat } from './page';

vi.mock('../src/components/PersonMessage', async (original) => {
  const actual = await original<{ PersonMessage: typeof PersonMessage }>();
  return { PersonMessage: vi.fn(actual.PersonMessage) };
});

const finishes = (server: FakeServer, to: string, text: string) => {
  server.happens({ type: 'message.accepted', message: human(to) });
  server.happens({ type: 'reply.started', id: `r-${to}`, to });
  server.happens({
    type: 'reply.finished',
    message: { id: `r-${to}`, to, text, role: 'bot', finish_reason: 'stop', timestamp: '2026-11-22T20:00:01Z' },
  });
};

it('a finished reply’s text is read once and never again, whatever comes after', async () => {
  const read = vi.spyOn(BlockReader.prototype, 'read');
  const readings = () => read.mock.calls.filter(([text]) => text === 'Finished words').length;
  const { server, does } = await openChat();
  await does(() => finishes(server, 'a', 'Finished words'));
  expect(readings()).toBe(1);
  await does(() => finishes(server, 'b', 'More words'));
  await does(() => server.closes(1006));
  expect(readings()).toBe(1);
});

it('an exchange that is over is not drawn again for the words of the next', async () => {
  const { server, does } = await openChat();
  await does(() => finishes(server, 'a', 'Finished words'));
  await does(() => {
    server.happens({ type: 'message.accepted', message: human('b') });
    server.happens({ type: 'reply.started', id: 'r', to: 'b' });
  });
  const drawn = vi.mocked(PersonMessage).mock.calls.length;
  for (const text of ['a', 'b', 'c']) await does(() => server.happens({ type: 'reply.delta', id: 'r', text }));
  await does(() => server.happens({ type: 'message.accepted', message: human('c') }));
  expect(screen.getByText('abc')).toBeTruthy();
  const since = vi.mocked(PersonMessage).mock.calls.slice(drawn).map(([{ text }]) => text);
  expect(since).not.toContain('Words of a');
  expect(since).toContain('Words of c');
});

it('a reply that is not in progress does not even listen to the words', () => {
  const words = { subscribe: vi.fn(() => () => undefined), getStreamingText: vi.fn(() => 'words') };
  const wrapper = ({ children }: { children: React.ReactNode }) => (
    <StreamingTextContext.Provider value={words}>{children}</StreamingTextContext.Provider>
  );
  expect(renderHook(() => useStreamingText(false), { wrapper }).result.current).toBe('');
  expect(words.subscribe).not.toHaveBeenCalled();
  expect(renderHook(() => useStreamingText(true), { wrapper }).result.current).toBe('words');
});

it('before anything is said, every kind of block has been read, so that no first words wait for that', async () => {
  const lex = vi.spyOn(Lexer.prototype, 'lex');
  await openChat();
  const read = lex.mock.results.flatMap(({ value }) => value as ReturnType<Lexer['lex']>).map(({ type }) => type);
  expect(read).toEqual(expect.arrayContaining(['heading', 'paragraph', 'list', 'blockquote', 'table', 'code']));
});
