// Where messages stand in the transcript: pure list work.
import type { BotMessage, Failure, HumanMessage, Message } from '../protocol/frames';

export const hasMessage = (messages: readonly Message[], id: string): boolean =>
  messages.some((message) => message.id === id);

export function withHuman(messages: readonly Message[], human: HumanMessage): readonly Message[] {
  return hasMessage(messages, human.id) ? messages : [...messages, human];
}

/** The reply right after what it answers, in the place of an earlier reply to the same message. */
export function withReply(messages: readonly Message[], to: string, reply: BotMessage): readonly Message[] {
  const others = withFailure(messages, to, undefined).filter((message) => !answers(message, to, reply.id));
  const at = others.findIndex((message) => message.id === to) + 1;
  return at === 0 ? [...others, reply] : [...others.slice(0, at), reply, ...others.slice(at)];
}

const answers = (message: Message, to: string, replyId: string): boolean =>
  message.role === 'bot' && (message.to === to || message.id === replyId);

/** The human message `to` with its failure set, or taken away. */
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

/** The human message that is next in line for a reply. */
export function firstUnanswered(messages: readonly Message[]): HumanMessage | undefined {
  return messages.find(
    (message, at): message is HumanMessage =>
      message.role === 'human' && !message.failed && messages[at + 1]?.role !== 'bot',
  );
}

/** Every bot message with its `to`: in a transcript it answers what stands before it. */
export function withEveryTo(messages: readonly Message[]): readonly Message[] {
  return messages.map((message, at) =>
    message.role === 'bot' && message.to === undefined ? { ...message, to: messages[at - 1]?.id } : message,
  );
}
