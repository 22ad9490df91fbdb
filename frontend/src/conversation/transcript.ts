// Pure functions on the list of messages.
import type { BotMessage, Failure, HumanMessage, Message } from '../protocol/frames';

export const hasMessage = (messages: readonly Message[], id: string): boolean =>
  messages.some((message) => message.id === id);

export function withHuman(messages: readonly Message[], human: HumanMessage): readonly Message[] {
  return hasMessage(messages, human.id) ? messages : [...messages, human];
}

/** Puts the reply right after the message that it answers and removes an earlier reply to it. */
export function withReply(messages: readonly Message[], to: string, reply: BotMessage): readonly Message[] {
  const others = withFailure(messages, to, undefined).filter((message) => !answers(message, to, reply.id));
  const at = others.findIndex((message) => message.id === to) + 1;
  return at === 0 ? [...others, reply] : [...others.slice(0, at), reply, ...others.slice(at)];
}

const answers = (message: Message, to: string, replyId: string): boolean =>
  message.role === 'bot' && (message.to === to || message.id === replyId);

/** Sets or removes the failure of the human message `to`. */
export function withFailure(
  messages: readonly Message[],
  to: string,
  failed: Failure | undefined,
): readonly Message[] {
  return messages.map((message) => {
    if (message.role !== 'human' || message.id !== to || message.failed === failed) return message;
    const { failed: _, ...rest } = message;
    return failed ? { ...rest, failed } : rest;
  });
}

/** The first human message without a reply or failure. */
export function firstUnanswered(messages: readonly Message[]): HumanMessage | undefined {
  return messages.find(
    (message, at): message is HumanMessage =>
      message.role === 'human' && !message.failed && messages[at + 1]?.role !== 'bot',
  );
}

/** Fills in a missing `to`: in a transcript, a reply answers the message before it. */
export function withEveryTo(messages: readonly Message[]): readonly Message[] {
  return messages.map((message, at) =>
    message.role === 'bot' && message.to === undefined ? { ...message, to: messages[at - 1]?.id } : message,
  );
}
