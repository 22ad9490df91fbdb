// What the page knows of a conversation. The words of the reply in progress stand apart from the rest,
// so that whoever shows the rest need not look again at each word.
import type { Cursor, Message, ModelInfo, ServiceState, WaitReason } from '../protocol/frames';

export interface LiveReply {
  id: string;
  to: string;
  phase: 'queued' | 'waiting' | 'writing';
  reason: WaitReason | null;
  /** When the wait should be over, in ms of the clock; null where nothing is waited for. */
  retryAt: number | null;
}

export interface View {
  phase: 'loading' | 'ready' | 'deleted';
  name: string;
  sessionStart: string;
  model: ModelInfo;
  /** Characters that a message may have. */
  limit: number;
  /** The transcript's order: a reply directly follows what it answers, the unanswered stand at the end. */
  messages: readonly Message[];
  reply: LiveReply | null;
  service: ServiceState;
}

export interface ConversationState {
  cursor: Cursor | null;
  view: View;
  /** The words so far of `view.reply`. */
  words: string;
  /** The reply is written anew: the words stay in sight until the first new one comes. */
  startingOver: boolean;
}

export const nothingYet: ConversationState = {
  cursor: null,
  view: {
    phase: 'loading',
    name: '',
    sessionStart: '',
    model: { name: '', stand_in: false },
    limit: 4000,
    messages: [],
    reply: null,
    service: 'ok',
  },
  words: '',
  startingOver: false,
};
