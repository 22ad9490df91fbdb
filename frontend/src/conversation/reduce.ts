// What each frame does to the state of a conversation. Pure: the time is a parameter.
import { isAfter } from '../protocol/cursor';
import type { EventFrame, HistoryFrame, HumanMessage, Message, QueueFrame, ReplyInFlight, ServiceFrame, Snapshot } from '../protocol/frames';
import { initialState, type ConversationState, type LiveReply, type View } from './state';
import { firstUnanswered, withEveryTo, withFailure, withHuman, withReply } from './transcript';

/** Frames about the conversation. (An `error` is about a frame of this page.) */
export type ConversationFrame = Snapshot | EventFrame | ServiceFrame | QueueFrame | HistoryFrame;

/**
 * The state after a frame. An event at or before the last cursor was seen before and changes nothing.
 * A snapshot always replaces the state: the server sends one when it cannot resume from the cursor.
 *
 * `now`: ms since the epoch.
 */
export function reduce(state: ConversationState, frame: ConversationFrame, now: number): ConversationState {
  if (frame.type === 'snapshot') return fromSnapshot(state, frame, now);
  if (frame.type === 'history') return withHistory(state, frame);
  if (frame.type === 'queue') return withView(state, { ahead: frame.ahead });
  if (frame.type === 'service') return withView(state, { service: frame.state });
  if (state.cursor !== null && !isAfter(frame.cursor, state.cursor)) return state;
  return { ...withoutOldPlace(applied(state, frame, now), frame), cursor: frame.cursor };
}

/** A reply that begins or ends has left the queue. */
function withoutOldPlace(state: ConversationState, { type }: EventFrame): ConversationState {
  return state.view.ahead === null || type === 'message.accepted' ? state : withView(state, { ahead: null });
}

function fromSnapshot(state: ConversationState, snapshot: Snapshot, now: number): ConversationState {
  const { cursor, conversation, reply, model, limits } = snapshot;
  return {
    cursor,
    view: {
      ...initialState.view,
      phase: 'ready',
      name: conversation.name,
      sessionStart: conversation.session_start,
      model,
      limit: limits.text,
      ...withLoadedHistory(state.view, withEveryTo(conversation.messages), conversation.earlier ?? 0),
      reply: reply && liveReply(reply, now),
    },
    streamingText: reply?.text ?? '',
    startingOver: false,
  };
}

/** Messages that were loaded from before the snapshot's first one stay. */
function withLoadedHistory(view: View, messages: readonly Message[], earlier: number): Pick<View, 'messages' | 'earlier'> {
  const overlap = earlier === 0 ? -1 : view.messages.findIndex(({ id }) => id === messages[0]?.id);
  if (overlap <= 0) return { messages, earlier };
  return { messages: [...view.messages.slice(0, overlap), ...messages], earlier: view.earlier };
}

function withHistory(state: ConversationState, { before, messages, earlier }: HistoryFrame): ConversationState {
  const { view } = state;
  if (view.messages[0]?.id !== before) return state;
  return withView(state, { messages: [...withEveryTo(messages), ...view.messages], earlier });
}

const liveReply = ({ id, to, state, reason, retry_in }: ReplyInFlight, now: number): LiveReply => ({
  id,
  to,
  phase: state,
  reason: reason ?? null,
  retryAt: retry_in === undefined ? null : now + retry_in * 1000,
});

function applied(state: ConversationState, event: EventFrame, now: number): ConversationState {
  const { messages, reply } = state.view;
  switch (event.type) {
    case 'message.accepted':
      return withView(state, { messages: withHuman(messages, event.message) });
    case 'message.edited':
      return edited(state, event.to, event.message);
    case 'reply.started':
      return started(state, event.id, event.to);
    case 'reply.waiting':
      return waiting(state, event, now);
    case 'reply.delta':
      return reply?.id === event.id ? grown(state, reply, event.text) : state;
    case 'reply.finished': {
      const to = event.message.to ?? reply?.to ?? firstUnanswered(messages)?.id ?? '';
      return ended(state, to, withReply(messages, to, { ...event.message, to }));
    }
    case 'reply.failed': {
      const { id, to, code, detail, retryable, text } = event;
      return ended(state, to, withFailure(messages, to, { id, code, detail, retryable, text }));
    }
    case 'conversation.deleted':
      return withView(state, { phase: 'deleted' });
    default:
      return assertNever(event);
  }
}

function edited(state: ConversationState, to: string, message: HumanMessage): ConversationState {
  const at = state.view.messages.findIndex(({ id }) => id === to);
  const kept = at < 0 ? state.view.messages : state.view.messages.slice(0, at);
  return { ...withView(state, { messages: withHuman(kept, message), reply: null }), streamingText: '', startingOver: false };
}

const writing = (id: string, to: string): LiveReply => ({ id, to, phase: 'writing', reason: null, retryAt: null });

function started(state: ConversationState, id: string, to: string): ConversationState {
  const again = state.view.reply?.id === id && state.streamingText !== '';
  return {
    ...withView(state, { reply: writing(id, to), messages: withFailure(state.view.messages, to, undefined) }),
    streamingText: again ? state.streamingText : '',
    startingOver: again,
  };
}

function waiting(
  state: ConversationState,
  { id, reason, retry_in }: Extract<EventFrame, { type: 'reply.waiting' }>,
  now: number,
): ConversationState {
  const { reply, messages } = state.view;
  const to = reply?.id === id ? reply.to : firstUnanswered(messages)?.id;
  if (to === undefined) return state;
  return withView(state, { reply: { id, to, phase: 'waiting', reason, retryAt: now + retry_in * 1000 } });
}

function grown(state: ConversationState, reply: LiveReply, text: string): ConversationState {
  const next = reply.phase === 'writing' ? state : withView(state, { reply: writing(reply.id, reply.to) });
  return { ...next, streamingText: state.startingOver ? text : state.streamingText + text, startingOver: false };
}

function ended(state: ConversationState, to: string, messages: View['messages']): ConversationState {
  if (state.view.reply && state.view.reply.to !== to) return withView(state, { messages });
  return { ...withView(state, { messages, reply: null }), streamingText: '', startingOver: false };
}

const withView = (state: ConversationState, changed: Partial<View>): ConversationState => ({
  ...state,
  view: { ...state.view, ...changed },
});

export function assertNever(value: never): never {
  throw new Error(`No case was written for ${JSON.stringify(value)}`);
}
