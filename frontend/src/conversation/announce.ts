// What a screen reader is told when the conversation changes.
import type { View } from './state';

/** The sentence for the change from one view to the next, or null. */
export function announcement(before: View, after: View): string | null {
  if (before.phase !== 'ready' || after.phase !== 'ready') return null;
  return ending(before, after) ?? beginning(before, after);
}

function ending(before: View, after: View): string | null {
  if (before.messages === after.messages) return null;
  const known = new Set(before.messages);
  const changed = after.messages.filter((message) => !known.has(message));
  for (const message of changed) {
    if (message.role === 'human' && message.failed) return `The reply failed. ${message.failed.detail}`;
    if (message.role !== 'bot') continue;
    if (message.finish_reason === 'stopped') return `The reply was stopped. ${message.text}`.trim();
    return `Reply: ${message.text}`;
  }
  return null;
}

function beginning(before: View, after: View): string | null {
  const begins = after.reply?.phase === 'writing' && before.reply?.id !== after.reply.id;
  return begins ? 'The reply has begun.' : null;
}
