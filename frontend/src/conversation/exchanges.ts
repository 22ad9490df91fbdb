// The transcript as a person sees it: each message with what became of it.
import type { BotMessage, HumanMessage } from '../protocol/frames';
import type { LiveReply, View } from './state';

export interface Exchange {
  human: HumanMessage;
  /** The finished reply; stays beside `live` while another answer is being written in its place. */
  reply: BotMessage | null;
  live: LiveReply | null;
  /** Not accepted by the server yet. */
  unsent: Entry | null;
}

/** A message on its way to the server. */
export interface Entry {
  id: string;
  text: string;
  /** ISO 8601. */
  at: string;
  /** Why the server will not take it; it stays until the person decides. */
  refused?: string | undefined;
}

/** A retry that was asked for and of which the server has said nothing yet. */
export interface AskedRetry {
  to: string;
  id: string;
}

/** All exchanges, what is not sent yet at the end. A message goes by one id all its way. */
export function exchanges(view: View, asked: AskedRetry | null, unsent: readonly Entry[]): Exchange[] {
  const sent = sentExchanges(view, asked);
  const waiting = unsent.filter(({ id }) => !sent.some(({ human }) => human.id === id));
  return [...sent, ...waiting.map(unsentExchange)];
}

const unsentExchange = (entry: Entry): Exchange => ({
  human: { id: entry.id, role: 'human', text: entry.text, timestamp: entry.at },
  reply: null,
  live: null,
  unsent: entry,
});

function sentExchanges(view: View, asked: AskedRetry | null): Exchange[] {
  const found: Exchange[] = [];
  for (const message of view.messages) {
    const last = found.at(-1);
    if (message.role === 'bot') {
      if (last) last.reply = message;
    } else {
      found.push({ human: message, reply: null, live: liveFor(message, view, asked), unsent: null });
    }
  }
  return found.map((exchange) => (isUnanswered(exchange) ? { ...exchange, live: inLine(exchange.human) } : exchange));
}

function liveFor(human: HumanMessage, view: View, asked: AskedRetry | null): LiveReply | null {
  if (view.reply?.to === human.id) return view.reply;
  return asked?.to === human.id ? { ...inLine(human), id: asked.id } : null;
}

const isUnanswered = ({ human, reply, live }: Exchange): boolean => !reply && !live && !human.failed;

const inLine = (human: HumanMessage): LiveReply => ({
  id: '',
  to: human.id,
  phase: 'queued',
  reason: null,
  retryAt: null,
});

/** The message whose reply is being written or waited for first, if any: what Stop stops. */
export const inProgress = (all: readonly Exchange[]): LiveReply | null =>
  all.find((exchange) => exchange.live && exchange.live.phase !== 'queued')?.live ??
  all.find((exchange) => exchange.live)?.live ??
  null;
