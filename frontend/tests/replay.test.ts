// From every cursor, the snapshot there and the later events give the final document.
import { describe, expect, it } from 'vitest';
import { reduce, type ConversationFrame } from '../src/conversation/reduce';
import { initialState, type ConversationState } from '../src/conversation/state';
import type { BotMessage, Snapshot } from '../src/protocol/frames';
import { FakeServer, human, type NewEvent } from './fakeServer';

const reply = (id: string, to: string, text: string, finish_reason: BotMessage['finish_reason'] = 'stop'): BotMessage => ({
  id,
  to,
  text,
  finish_reason,
  role: 'bot',
  timestamp: '2026-11-22T20:00:01Z',
});

/** A message, another sent while the first is answered, a takeover, a stop, an edit, a failure, and two retries. */
const RECORDED: NewEvent[] = [
  { type: 'message.accepted', message: human('a') },
  { type: 'reply.started', id: 'ra', to: 'a' },
  { type: 'reply.delta', id: 'ra', text: 'One ' },
  { type: 'message.accepted', message: human('b') },
  { type: 'reply.delta', id: 'ra', text: 'two' },
  { type: 'reply.started', id: 'ra', to: 'a' },
  { type: 'reply.delta', id: 'ra', text: 'One two' },
  { type: 'reply.delta', id: 'ra', text: ' three' },
  { type: 'reply.finished', message: reply('ra', 'a', 'One two three') },
  { type: 'reply.started', id: 'rb', to: 'b' },
  { type: 'reply.waiting', id: 'rb', reason: 'model_loading', retry_in: 3 },
  { type: 'reply.delta', id: 'rb', text: 'Fo' },
  { type: 'reply.finished', message: reply('rb', 'b', 'Fo', 'stopped') },
  { type: 'reply.started', id: 'rb2', to: 'b' },
  { type: 'reply.delta', id: 'rb2', text: 'Four' },
  { type: 'reply.finished', message: reply('rb2', 'b', 'Four') },
  { type: 'message.edited', to: 'b', message: human('b2') },
  { type: 'reply.started', id: 'rb3', to: 'b2' },
  { type: 'reply.finished', message: reply('rb3', 'b2', 'Four again', 'length') },
  { type: 'message.accepted', message: human('c') },
  { type: 'reply.started', id: 'rc', to: 'c' },
  { type: 'reply.delta', id: 'rc', text: 'Fi' },
  { type: 'reply.failed', id: 'rc', to: 'c', code: 'model_unavailable', detail: 'No answer.', retryable: true, text: 'Fi' },
  { type: 'reply.started', id: 'rc2', to: 'c' },
  { type: 'reply.delta', id: 'rc2', text: 'Five' },
];

function record(): { server: FakeServer; start: Snapshot; snapshots: Snapshot[] } {
  const server = new FakeServer();
  const start = server.snapshot();
  const snapshots = [start];
  for (const event of RECORDED) {
    server.happens(event);
    snapshots.push(server.snapshot());
  }
  return { server, start, snapshots };
}

const replay = (frames: ConversationFrame[]): ConversationState =>
  frames.reduce((state, frame) => reduce(state, frame, 0), initialState);

/** What must be equal however one came here. */
const seen = ({ cursor, view, streamingText }: ConversationState) => ({
  cursor,
  streamingText,
  messages: view.messages,
  reply: view.reply && { id: view.reply.id, to: view.reply.to, phase: view.reply.phase },
});

describe('replay', () => {
  const { server, start, snapshots } = record();
  const final = server.snapshot();

  it('of no events at all would not do: the events change the document', () => {
    expect(final.conversation.messages).not.toEqual(start.conversation.messages);
  });

  it.each(snapshots.map((snapshot, at) => ({ at, snapshot })))(
    'from the snapshot after $at events ends at the document',
    ({ at, snapshot }) => {
      const state = replay([snapshot, ...server.events.slice(at)]);
      expect(seen(state)).toEqual(seen(replay([final])));
      expect(state.view.messages).toEqual(final.conversation.messages);
    },
  );

  it.each(RECORDED.map((event, at) => ({ at, type: event.type })))(
    'changes nothing when event $at ($type) and all before come again',
    ({ at }) => {
      const state = replay([start, ...server.events.slice(0, at + 1)]);
      const again = server.events.slice(0, at + 1).reduce((before, event) => reduce(before, event, 0), state);
      expect(again).toBe(state);
    },
  );

  it.each(RECORDED.map((event, at) => ({ at, type: event.type })))(
    'shows something new at event $at ($type)',
    ({ at }) => {
      const before = replay([start, ...server.events.slice(0, at)]);
      const event = server.events[at];
      if (!event) throw new Error('no event');
      const { cursor: _, ...changed } = reduce(before, event, 0);
      expect(changed).not.toEqual({ view: before.view, streamingText: before.streamingText, startingOver: before.startingOver });
    },
  );
});
