// The words of the wire: every frame of the subprotocol chat.stream.v1, as types.

export const SUBPROTOCOL = 'chat.stream.v1';

/** Place of an event in its conversation's stream: two integers, `ms-seq`. */
export type Cursor = string;

/** Why the last try to answer a message ended without a reply; `detail` is for a person to read. */
export interface Failure {
  id: string;
  code: string;
  detail: string;
  retryable: boolean;
  /** The words that were shown before it failed. */
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
  /** The human message it answers. */
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
  conversation: { token: string; name: string; session_start: string; messages: Message[] };
  reply: ReplyInFlight | null;
  model: ModelInfo;
  limits: { text: number };
}

/** Frames that are events of the stream: in order, each with its cursor. */
export type EventFrame =
  | { type: 'message.accepted'; cursor: Cursor; message: HumanMessage }
  | { type: 'reply.started'; cursor: Cursor; id: string; to: string }
  | { type: 'reply.waiting'; cursor: Cursor; id: string; reason: WaitReason; retry_in: number }
  | { type: 'reply.delta'; cursor: Cursor; id: string; text: string }
  | { type: 'reply.finished'; cursor: Cursor; message: BotMessage }
  | ({ type: 'reply.failed'; cursor: Cursor; to: string } & Failure)
  | { type: 'conversation.deleted'; cursor: Cursor };

/** The codes stay open: of one that is not known here, the detail is shown as it is. */
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

export type ServerFrame = Snapshot | EventFrame | ErrorFrame | ServiceFrame;

export type ClientFrame =
  | { type: 'message.send'; id: string; text: string }
  | { type: 'reply.stop'; to: string }
  | { type: 'reply.retry'; to: string; id: string };
