// What frames do to a conversation, beyond what the replay holds.
import { describe, expect, it } from 'vitest';
import { exchanges, inProgress } from '../src/conversation/exchanges';
import { reduce, type ConversationFrame } from '../src/conversation/reduce';
import { initialState, type ConversationState } from '../src/conversation/state';
import type { BotMessage } from '../src/protocol/frames';
import { FakeServer, human, type NewEvent } from './fakeServer';

const after = (...events: NewEvent[]): ConversationState => {
  const server = new FakeServer();
  const start = server.snapshot();
  events.forEach((event) => server.happens(event));
  return [start, ...server.events].reduce<ConversationState>((state, frame) => reduce(state, frame, 1000), initialState);
};

const accepted = (id: string): NewEvent => ({ type: 'message.accepted', message: human(id) });
const started: NewEvent = { type: 'reply.started', id: 'r', to: 'a' };
const delta = (text: string): NewEvent => ({ type: 'reply.delta', id: 'r', text });
const bot = (id: string, to?: string): BotMessage => ({
  id, to, role: 'bot', text: 'Done', finish_reason: 'stop', timestamp: '2026-11-22T20:00:01Z',
});

describe('a conversation', () => {
  it('keeps the words in sight while a reply is written anew, until its first new word', () => {
    const again = after(accepted('a'), started, delta('One two'), started);
    expect(again.streamingText).toBe('One two');
    expect(reduce(again, { type: 'reply.delta', cursor: '9999-0', id: 'r', text: 'One' }, 0).streamingText).toBe('One');
  });

  it('puts a reply right after what it answers, even when more was sent meanwhile', () => {
    const { view } = after(accepted('a'), accepted('b'), started, { type: 'reply.finished', message: bot('r', 'a') });
    expect(view.messages.map(({ id }) => id)).toEqual(['a', 'r', 'b']);
  });

  it('places a reply that does not say what it answers by the reply in progress', () => {
    const { view } = after(accepted('a'), accepted('b'), started, { type: 'reply.finished', message: bot('r') });
    expect(view.messages.map(({ id }) => id)).toEqual(['a', 'r', 'b']);
  });

  it('counts a wait from now', () => {
    const { view } = after(accepted('a'), started, { type: 'reply.waiting', id: 'r', reason: 'retrying', retry_in: 2.5 });
    expect(view.reply).toMatchObject({ phase: 'waiting', reason: 'retrying', retryAt: 3500 });
  });

  it('is over waiting at the first word', () => {
    const state = after(accepted('a'), started, { type: 'reply.waiting', id: 'r', reason: 'retrying', retry_in: 2 }, delta('x'));
    expect(state.view.reply).toMatchObject({ phase: 'writing', reason: null, retryAt: null });
  });

  it('leaves everything but the words as it is when a word comes, so that nothing else is drawn', () => {
    const before = after(accepted('a'), started, delta('One'));
    const next = reduce(before, { type: 'reply.delta', cursor: '9999-0', id: 'r', text: ' two' }, 0);
    expect(next.streamingText).toBe('One two');
    expect(next.view).toBe(before.view);
  });

  it('ignores words for a reply that is not in progress', () => {
    const before = after(accepted('a'), started, delta('One'));
    const next = reduce(before, { type: 'reply.delta', cursor: '9999-0', id: 'other', text: ' two' }, 0);
    expect(next.streamingText).toBe('One');
  });

  it('believes a snapshot even when its cursor is not a later one', () => {
    const before = after(accepted('a'), started);
    expect(reduce(before, new FakeServer().snapshot(), 0).view.messages).toEqual([]);
  });

  it('keeps the identity of finished messages while others come', () => {
    const before = after(accepted('a'), started, { type: 'reply.finished', message: bot('r', 'a') });
    const frame: ConversationFrame = { type: 'message.accepted', cursor: '9999-0', message: human('b') };
    const next = reduce(before, frame, 0);
    expect(next.view.messages[1]).toBe(before.view.messages[1]);
  });

  it('is over when it was deleted', () => {
    expect(after({ type: 'conversation.deleted' }).view.phase).toBe('deleted');
  });
});

describe('exchanges', () => {
  it('show every unanswered message as waiting for its turn, and the one being answered as live', () => {
    const { view } = after(accepted('a'), accepted('b'), started);
    expect(exchanges(view, null, []).map(({ human: { id }, live }) => [id, live?.phase])).toEqual([
      ['a', 'writing'],
      ['b', 'queued'],
    ]);
  });

  it('show another answer in the place of the first, which stays beside it until it is replaced', () => {
    const { view } = after(accepted('a'), started, { type: 'reply.finished', message: bot('r', 'a') }, {
      type: 'reply.started', id: 'r2', to: 'a',
    });
    expect(exchanges(view, null, [])).toMatchObject([{ reply: { id: 'r' }, live: { id: 'r2' } }]);
  });

  it('show a retry that was asked for at once', () => {
    const { view } = after(accepted('a'), started, { type: 'reply.finished', message: bot('r', 'a') });
    expect(exchanges(view, { type: 'reply.retry', to: 'a', id: 'r2' }, [])).toMatchObject([{ live: { id: 'r2', phase: 'queued' } }]);
  });

  it('show what is not sent yet at the end, and nothing twice', () => {
    const { view } = after(accepted('a'));
    const entries = [
      { id: 'a', text: 'x', at: '' },
      { id: 'b', text: 'y', at: '' },
    ];
    expect(exchanges(view, null, entries).map(({ human: { id }, unsent }) => [id, unsent !== null])).toEqual([
      ['a', false],
      ['b', true],
    ]);
  });

  it('stop the reply that is being written rather than one that waits', () => {
    const { view } = after(accepted('a'), accepted('b'), { type: 'reply.started', id: 'rb', to: 'b' });
    expect(inProgress(exchanges(view, null, []))?.to).toBe('b');
  });
});
