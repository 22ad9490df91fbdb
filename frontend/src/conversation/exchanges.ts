// The transcript as exchanges: each message of the person with its reply.
import type { BotMessage, HumanMessage } from '../protocol/frames';
import type { LiveReply, View } from './state';

export interface Exchange {
  human: HumanMessage;
  /** The finished reply. It stays while `live`, another reply to the same message, is being written. */
  reply: BotMessage | null;
  live: LiveReply | null;
  /** Set while the server has not accepted the message. */
  unsent: OutboxEntry | null;
}

/** A message in the outbox. */
export interface OutboxEntry {
  id: string;
  text: string;
  /** ISO 8601. */
  at: string;
  /** Why the server refused the message. It stays until the person decides. */
  refused?: string | undefined;
  /** The server accepted it, and its reply has not ended. */
  accepted?: boolean | undefined;
  /** Id of the message that this one replaces. */
  replaces?: string | undefined;
}

/** A retry that the server has not confirmed yet. */
export interface PendingRetry {
  /** For another reply, or for more of the same. */
  type: 'reply.retry' | 'reply.continue';
  to: string;
  id: string;
}

/** All exchanges, unsent ones last. A message keeps its id when the server accepts it. */
export function exchanges(view: View, pendingRetry: PendingRetry | null, unsent: readonly OutboxEntry[]): Exchange[] {
  const sent = withoutReplaced(sentExchanges(view, pendingRetry), unsent);
  const waiting = unsent.filter(({ id }) => !sent.some(({ human }) => human.id === id));
  return [...sent, ...waiting.map(unsentExchange)];
}

/** An edited message takes the place of the old one, and of its reply, as soon as the person sends it. */
function withoutReplaced(sent: Exchange[], unsent: readonly OutboxEntry[]): Exchange[] {
  const at = sent.findIndex(({ human }) => unsent.some(({ replaces }) => replaces === human.id));
  return at < 0 ? sent : sent.slice(0, at);
}

const unsentExchange = (entry: OutboxEntry): Exchange => ({
  human: { id: entry.id, role: 'human', text: entry.text, timestamp: entry.at },
  reply: null,
  live: null,
  unsent: entry,
});

function sentExchanges(view: View, pendingRetry: PendingRetry | null): Exchange[] {
  const found: Exchange[] = [];
  for (const message of view.messages) {
    const last = found.at(-1);
    if (message.role === 'bot') {
      if (last) last.reply = message;
    } else {
      found.push({ human: message, reply: null, live: liveFor(message, view, pendingRetry), unsent: null });
    }
  }
  return found.map((exchange) => (isUnanswered(exchange) ? { ...exchange, live: queuedReply(exchange.human) } : exchange));
}

function liveFor(human: HumanMessage, view: View, pendingRetry: PendingRetry | null): LiveReply | null {
  if (view.reply?.to === human.id) return view.reply;
  return pendingRetry?.to === human.id ? { ...queuedReply(human), id: pendingRetry.id } : null;
}

const isUnanswered = ({ human, reply, live }: Exchange): boolean => !reply && !live && !human.failed;

const queuedReply = (human: HumanMessage): LiveReply => ({
  id: '',
  to: human.id,
  phase: 'queued',
  reason: null,
  retryAt: null,
});

/** The reply that Stop stops: the one being written, otherwise the first that is waiting. */
export const inProgress = (all: readonly Exchange[]): LiveReply | null =>
  all.find((exchange) => exchange.live && exchange.live.phase !== 'queued')?.live ??
  all.find((exchange) => exchange.live)?.live ??
  null;
