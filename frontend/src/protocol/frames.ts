// Types of all frames of the subprotocol chat.stream.v1.

export const SUBPROTOCOL = 'chat.stream.v1';

/** Position of an event in the stream of its conversation: two integers, `ms-seq`. */
export type Cursor = string;

/** Why the last attempt to answer a message failed; `detail` is shown to the person. */
export interface Failure {
  id: string;
  code: string;
  detail: string;
  retryable: boolean;
  /** The text that was shown before the failure. */
  text?: string | undefined;
}

export interface HumanMessage {
  id: string;
  role: 'human';
  text: string;
  timestamp: string;
  failed?: Failure | undefined;
}

export interface BotMessage {
  id: string;
  role: 'bot';
  text: string;
  timestamp: string;
  finish_reason: 'stop' | 'length' | 'stopped';
  /** Id of the human message that this answers. */
  to?: string | undefined;
}

export type Message = HumanMessage | BotMessage;

export type WaitReason = 'model_loading' | 'rate_limited' | 'retrying';

export interface ReplyInFlight {
  id: string;
  to: string;
  text: string;
  state: 'queued' | 'waiting' | 'writing';
  reason?: WaitReason | undefined;
  /** Seconds. */
  retry_in?: number | undefined;
}

export interface ModelInfo {
  name: string;
  stand_in: boolean;
}

export type ServiceState = 'ok' | 'no_worker' | 'storage_away';

export interface Snapshot {
  type: 'snapshot';
  cursor: Cursor;
  conversation: {
    token: string;
    name: string;
    session_start: string;
    messages: Message[];
    /** How many messages come before these. */
    earlier?: number | undefined;
  };
  reply: ReplyInFlight | null;
  model: ModelInfo;
  limits: { text: number };
}

/** Frames that are events of the stream, in order, each with its cursor. */
export type EventFrame =
  | { type: 'message.accepted'; cursor: Cursor; message: HumanMessage }
  /** `to` and everything after it is gone, and `message` stands in its place. */
  | { type: 'message.edited'; cursor: Cursor; to: string; message: HumanMessage }
  | { type: 'reply.started'; cursor: Cursor; id: string; to: string }
  | { type: 'reply.waiting'; cursor: Cursor; id: string; reason: WaitReason; retry_in: number }
  | { type: 'reply.delta'; cursor: Cursor; id: string; text: string }
  | { type: 'reply.finished'; cursor: Cursor; message: BotMessage }
  | ({ type: 'reply.failed'; cursor: Cursor; to: string } & Failure)
  | { type: 'conversation.deleted'; cursor: Cursor };

/** New codes may be added. The detail of an unknown code is shown as it is. */
export interface ErrorFrame {
  type: 'error';
  code: string;
  detail: string;
  id?: string | undefined;
  /** Seconds. */
  retry_in?: number | undefined;
}

export interface ServiceFrame {
  type: 'service';
  state: ServiceState;
}

/** Sign of life, at least every 15 seconds when nothing else was sent. */
export interface AliveFrame {
  type: 'alive';
}

/** So many conversations will be answered before this one; null if that is not known any more. */
export interface QueueFrame {
  type: 'queue';
  ahead: number | null;
}

/** The messages before the one with the id `before`. `earlier`: how many are still before these. */
export interface HistoryFrame {
  type: 'history';
  before: string;
  messages: Message[];
  earlier: number;
}

export type ServerFrame = Snapshot | EventFrame | ErrorFrame | ServiceFrame | AliveFrame | QueueFrame | HistoryFrame;

export type ClientFrame =
  | { type: 'message.send'; id: string; text: string }
  | { type: 'reply.stop'; to: string }
  | { type: 'reply.retry'; to: string; id: string }
  | { type: 'reply.continue'; to: string; id: string }
  | { type: 'message.edit'; to: string; id: string; text: string }
  | { type: 'history.before'; before: string };
