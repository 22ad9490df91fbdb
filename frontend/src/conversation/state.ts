// The state of a conversation. The text of the streaming reply is kept apart from `view`, so that components that
// show the rest do not render for each word.
import type { Cursor, Message, ModelInfo, ServiceState, WaitReason } from '../protocol/frames';

export interface LiveReply {
  id: string;
  to: string;
  phase: 'queued' | 'waiting' | 'writing';
  reason: WaitReason | null;
  /** When the next attempt starts, in ms since the epoch; null if none is planned. */
  retryAt: number | null;
}

export interface View {
  phase: 'loading' | 'ready' | 'deleted';
  name: string;
  sessionStart: string;
  model: ModelInfo;
  /** The longest message that can be sent, in characters. */
  limit: number;
  /** In transcript order: a reply directly follows the message that it answers. Unanswered messages are at the end. */
  messages: readonly Message[];
  /** How many messages come before `messages`. */
  earlier: number;
  reply: LiveReply | null;
  service: ServiceState;
  /** How many conversations will be answered before this one, while it waits for a worker; null if that is not known. */
  ahead: number | null;
}

export interface ConversationState {
  cursor: Cursor | null;
  view: View;
  /** The text so far of `view.reply`. */
  streamingText: string;
  /** The reply starts again. The earlier text stays visible until new text arrives. */
  startingOver: boolean;
}

export const initialState: ConversationState = {
  cursor: null,
  view: {
    phase: 'loading',
    name: '',
    sessionStart: '',
    model: { name: '', stand_in: false },
    limit: 4000,
    messages: [],
    earlier: 0,
    reply: null,
    service: 'ok',
    ahead: null,
  },
  streamingText: '',
  startingOver: false,
};
