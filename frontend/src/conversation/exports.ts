// A conversation as a file: Markdown to read, JSON to process.
import type { Message } from '../protocol/frames';
import type { View } from './state';

export function asMarkdown(view: View): string {
  const head = `# ${view.name} and ${view.model.name}\n\nBegun ${view.sessionStart}.\n`;
  return [head, ...view.messages.map((message) => section(message, view))].join('\n');
}

function section(message: Message, view: View): string {
  const who = message.role === 'human' ? view.name : view.model.name;
  const stopped = message.role === 'bot' && message.finish_reason === 'stopped' ? '\n\n*(stopped)*' : '';
  return `## ${who}, ${message.timestamp}\n\n${message.text}${stopped}\n`;
}

export function asJson(view: View): string {
  const { name, sessionStart: session_start, model, messages } = view;
  return `${JSON.stringify({ name, session_start, model: model.name, messages }, null, 2)}\n`;
}
