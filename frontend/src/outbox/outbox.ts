// Sends messages one after the other, and keeps each until its reply has ended. If the server loses an accepted message
// before that, it is sent again with the same id.
import type { Storage } from '../browser/storage';
import type { OutboxEntry } from '../conversation/exchanges';
import type { ClientFrame, ErrorFrame, Message } from '../protocol/frames';
import { dropEntry, nextMoment, putEntry, readEntries } from './entries';

/** Sending pauses until `until` (ms since the epoch). The reason is shown until the next attempt has its answer. */
export interface Hold {
  reason: 'rate_limited' | 'busy' | 'unavailable';
  until: number;
}

export interface OutboxView {
  /** In the order in which they were sent. Includes accepted messages whose reply has not ended. */
  entries: readonly OutboxEntry[];
  hold: Hold | null;
}

export interface OutboxOptions {
  token: string;
  storage: Storage;
  /** Returns false if the frame could not be sent. */
  send: (frame: ClientFrame) => boolean;
  onChange: (view: OutboxView) => void;
  /** No answer to a sent message came in time. The connection may be dead. */
  onAckTimeout: () => void;
}

/** The server accepts a message within milliseconds. After this time without an answer, the socket is replaced. */
const ACK_TIMEOUT_MS = 10_000;

/** Pause after `unavailable` or `busy`, which name no time. */
const DEFAULT_HOLD_S = 3;

const BROKEN_CHARACTER = 'It contains a broken character. Edit it and send it again.';

/** Half of a character outside the basic plane. It cannot be written in UTF-8, so no server can read it. */
const LONE_SURROGATE = /\p{Surrogate}/u;

const isHold = (code: string): code is Hold['reason'] =>
  code === 'rate_limited' || code === 'busy' || code === 'unavailable';

export class Outbox {
  private entries: OutboxEntry[];
  private hold: Hold | null = null;
  private isHolding = false;
  private isReady = false;
  private inFlight: string | null = null;
  /** Accepted messages that the server's last snapshot lacks. */
  private readonly missing = new Set<string>();
  /** Unsent messages that another tab removed from the storage. */
  private vanished: OutboxEntry[] = [];
  private holdTimer: ReturnType<typeof setTimeout> | undefined;
  private ackTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: OutboxOptions) {
    this.entries = readEntries(options.storage, options.token);
  }

  get view(): OutboxView {
    return { entries: this.entries, hold: this.hold };
  }

  /** Every text that the server never accepted, also if another tab deleted the conversation and what was stored. */
  get unsent(): OutboxEntry[] {
    return [...this.vanished, ...this.entries]
      .filter(({ accepted }) => !accepted)
      .sort((one, other) => (one.at < other.at ? -1 : 1));
  }

  /** `replaces`: id of the message that this one takes the place of. */
  add(id: string, text: string, replaces?: string): void {
    this.put({ id, text, at: nextMoment(this.entries), replaces });
    this.pump();
  }

  /** The connection is open and resumes after all that the page has seen. */
  onReady(): void {
    this.isReady = true;
    this.clearInFlight();
    this.pump();
  }

  /** A snapshot came: the server has exactly these messages, and perhaps earlier ones. */
  onSnapshot(messages: readonly Message[]): void {
    this.missing.clear();
    this.refresh();
    for (const { id, accepted } of this.entries) {
      const at = messages.findIndex((message) => message.id === id);
      const message = messages[at];
      if (!message) {
        if (accepted) this.missing.add(id);
      } else if (hasEnded(message, messages[at + 1])) {
        this.drop(id);
      } else {
        this.markAccepted(id);
      }
    }
  }

  onClosed(): void {
    this.isReady = false;
    this.clearInFlight();
  }

  /** `isOld`: the message is from before what the page shows, so its reply ended long ago. */
  onAccepted(id: string, isOld = false): void {
    this.vanished = this.vanished.filter((entry) => entry.id !== id);
    if (!this.has(id)) return;
    this.clearShownHold();
    this.missing.delete(id);
    if (isOld) this.drop(id);
    else this.markAccepted(id);
    if (this.inFlight === id) this.clearInFlight();
    this.pump();
  }

  /** The reply to the message finished or failed, or the message was replaced. */
  onEnded(id: string): void {
    if (!this.has(id)) return;
    this.drop(id);
    this.pump();
  }

  /** Returns whether the refused frame was a message of this outbox. */
  onRefused({ id, code, detail, retry_in }: ErrorFrame): boolean {
    // The server may be unable to read an id out of a frame. Messages are sent one at a time, so it is this one.
    const refused = id ?? (code === 'bad_frame' ? this.inFlight : null);
    if (refused === null || !this.has(refused)) return false;
    this.clearInFlight();
    if (isHold(code)) {
      this.holdFor(code, retry_in ?? DEFAULT_HOLD_S);
      return true;
    }
    this.clearShownHold();
    // Accepted once, and since then replaced or deleted: there is nothing left to send.
    if (code === 'bad_frame' && this.missing.has(refused)) this.drop(refused);
    else this.mark(refused, detail);
    this.pump();
    return true;
  }

  /** The server closed the socket because of the frame that was sent last. */
  refuseInFlight(detail: string): void {
    if (this.inFlight !== null) this.onRefused({ type: 'error', code: 'too_long', detail, id: this.inFlight });
  }

  resend(id: string): void {
    this.mark(id, undefined);
    this.pump();
  }

  remove(id: string): void {
    this.clearShownHold();
    this.drop(id);
    if (this.inFlight === id) this.clearInFlight();
    this.pump();
  }

  stop(): void {
    this.onClosed();
    clearTimeout(this.holdTimer);
    this.isHolding = false;
    this.hold = null;
  }

  private pump(): void {
    this.refresh();
    this.options.onChange(this.view);
    if (!this.isReady || this.isHolding || this.inFlight !== null) return;
    const next = this.entries.find(
      (entry) => entry.refused === undefined && (!entry.accepted || this.missing.has(entry.id)),
    );
    if (!next) return;
    if (LONE_SURROGATE.test(next.text)) {
      this.mark(next.id, BROKEN_CHARACTER);
      return this.pump();
    }
    this.inFlight = next.id;
    this.ackTimer = setTimeout(() => this.options.onAckTimeout(), ACK_TIMEOUT_MS);
    if (!this.options.send(frameOf(next))) this.clearInFlight();
  }

  /** Another tab may have added, sent or removed a message. */
  private refresh(): void {
    const before = this.entries;
    this.entries = readEntries(this.options.storage, this.options.token);
    const ids = new Set(this.entries.map(({ id }) => id));
    this.vanished.push(...before.filter(({ id, accepted }) => !ids.has(id) && !accepted));
  }

  private holdFor(reason: Hold['reason'], seconds: number): void {
    clearTimeout(this.holdTimer);
    this.isHolding = true;
    this.hold = { reason, until: Date.now() + seconds * 1000 };
    this.holdTimer = setTimeout(() => this.release(), seconds * 1000);
    this.options.onChange(this.view);
  }

  private release(): void {
    this.isHolding = false;
    this.pump();
  }

  private clearShownHold(): void {
    if (!this.isHolding) this.hold = null;
  }

  private clearInFlight(): void {
    clearTimeout(this.ackTimer);
    this.inFlight = null;
  }

  /** The message in flight counts too, because another tab may have removed its entry. */
  private has(id: string): boolean {
    return id === this.inFlight || this.entries.some((entry) => entry.id === id);
  }

  private put(entry: OutboxEntry): void {
    putEntry(this.options.storage, this.options.token, entry);
  }

  private drop(id: string): void {
    this.entries = this.entries.filter((entry) => entry.id !== id);
    this.missing.delete(id);
    dropEntry(this.options.storage, this.options.token, id);
  }

  private markAccepted(id: string): void {
    const entry = this.stored(id);
    if (entry && !entry.accepted) this.put({ ...entry, accepted: true, refused: undefined });
  }

  private mark(id: string, refused: string | undefined): void {
    const entry = this.stored(id);
    if (entry) this.put({ ...entry, refused });
  }

  private stored(id: string): OutboxEntry | undefined {
    return readEntries(this.options.storage, this.options.token).find((entry) => entry.id === id);
  }
}

function frameOf({ id, text, replaces }: OutboxEntry): ClientFrame {
  return replaces === undefined
    ? { type: 'message.send', id, text }
    : { type: 'message.edit', to: replaces, id, text };
}

const hasEnded = (message: Message, next: Message | undefined): boolean =>
  (message.role === 'human' && message.failed !== undefined) || next?.role === 'bot';
