// Validates the text of a frame. All other code may trust the types in `frames`.
import { cursor } from './cursor';
import type { BotMessage, Failure, HumanMessage, ReplyInFlight, ServerFrame } from './frames';
import { either, flag, list, nullable, number, oneOf, optional, shape, text, type Guard } from './shape';

const failure = { id: text, code: text, detail: text, retryable: flag, text: optional(text) };

const human = shape<HumanMessage>({
  id: text,
  role: oneOf('human'),
  text,
  timestamp: text,
  failed: optional(shape<Failure>(failure)),
});

const bot = shape<BotMessage>({
  id: text,
  role: oneOf('bot'),
  text,
  timestamp: text,
  finish_reason: oneOf('stop', 'length', 'stopped'),
  to: optional(text),
});

const waitReason = oneOf('model_loading', 'rate_limited', 'retrying');

const replyInFlight = shape<ReplyInFlight>({
  id: text,
  to: text,
  text,
  state: oneOf('queued', 'waiting', 'writing'),
  reason: optional(waitReason),
  retry_in: optional(number),
});

export const message = either(human, bot);

const messages = list(message);

const conversation = { token: text, name: text, session_start: text, messages, earlier: optional(number) };

type FrameOf<Type extends ServerFrame['type']> = Extract<ServerFrame, { type: Type }>;

const SHAPES: { [Type in ServerFrame['type']]: Guard<FrameOf<Type>> } = {
  snapshot: shape<FrameOf<'snapshot'>>({
    type: oneOf('snapshot'),
    cursor,
    conversation: shape<FrameOf<'snapshot'>['conversation']>(conversation),
    reply: nullable(replyInFlight),
    model: shape<FrameOf<'snapshot'>['model']>({ name: text, stand_in: flag }),
    limits: shape<FrameOf<'snapshot'>['limits']>({ text: number }),
  }),
  'message.accepted': shape<FrameOf<'message.accepted'>>({
    type: oneOf('message.accepted'),
    cursor,
    message: human,
  }),
  'message.edited': shape<FrameOf<'message.edited'>>({
    type: oneOf('message.edited'),
    cursor,
    to: text,
    message: human,
  }),
  'reply.started': shape<FrameOf<'reply.started'>>({
    type: oneOf('reply.started'),
    cursor,
    id: text,
    to: text,
  }),
  'reply.waiting': shape<FrameOf<'reply.waiting'>>({
    type: oneOf('reply.waiting'),
    cursor,
    id: text,
    reason: waitReason,
    retry_in: number,
  }),
  'reply.delta': shape<FrameOf<'reply.delta'>>({ type: oneOf('reply.delta'), cursor, id: text, text }),
  'reply.finished': shape<FrameOf<'reply.finished'>>({
    type: oneOf('reply.finished'),
    cursor,
    message: bot,
  }),
  'reply.failed': shape<FrameOf<'reply.failed'>>({
    type: oneOf('reply.failed'),
    cursor,
    to: text,
    ...failure,
  }),
  'conversation.deleted': shape<FrameOf<'conversation.deleted'>>({
    type: oneOf('conversation.deleted'),
    cursor,
  }),
  error: shape<FrameOf<'error'>>({
    type: oneOf('error'),
    code: text,
    detail: text,
    id: optional(text),
    retry_in: optional(number),
  }),
  service: shape<FrameOf<'service'>>({
    type: oneOf('service'),
    state: oneOf('ok', 'no_worker', 'storage_away'),
  }),
  queue: shape<FrameOf<'queue'>>({ type: oneOf('queue'), ahead: nullable(number) }),
  alive: shape<FrameOf<'alive'>>({ type: oneOf('alive') }),
  history: shape<FrameOf<'history'>>({ type: oneOf('history'), before: text, messages, earlier: number }),
};

const isKnown = (type: unknown): type is ServerFrame['type'] =>
  typeof type === 'string' && Object.hasOwn(SHAPES, type);

/** The frame, or null if it is not JSON, has an unknown type, or does not match its type. */
export function parseFrame(data: unknown): ServerFrame | null {
  const value = fromJson(data);
  if (typeof value !== 'object' || value === null || !('type' in value) || !isKnown(value.type)) return null;
  return SHAPES[value.type](value) ? value : null;
}

function fromJson(data: unknown): unknown {
  if (typeof data !== 'string') return null;
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}
