// Sends messages one after the other until the server has accepted each.
import type { Storage } from '../browser/storage';
import type { OutboxEntry } from '../conversation/exchanges';
import type { ClientFrame, ErrorFrame } from '../protocol/frames';
import { dropEntry, nextMoment, putEntry, readEntries } from './entries';

/** Sending pauses until `until` (ms since the epoch). The reason is shown until the next attempt has its answer. */
export interface Hold {
  reason: 'rate_limited' | 'busy' | 'unavailable';
  until: number;
}

export interface OutboxView {
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

const isHold = (code: string): code is Hold['reason'] =>
  code === 'rate_limited' || code === 'busy' || code === 'unavailable';

export class Outbox {
  private entries: OutboxEntry[];
  private hold: Hold | null = null;
  private isHolding = false;
  private isReady = false;
  private inFlight: string | null = null;
  private holdTimer: ReturnType<typeof setTimeout> | undefined;
  private ackTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: OutboxOptions) {
    this.entries = readEntries(options.storage, options.token);
  }

  get view(): OutboxView {
    return { entries: this.entries, hold: this.hold };
  }

  add(id: string, text: string): void {
    putEntry(this.options.storage, this.options.token, { id, text, at: nextMoment(this.entries) });
    this.pump();
  }

  /** The connection is open and the page knows what the server has. */
  onReady(): void {
    this.isReady = true;
    this.clearInFlight();
    this.pump();
  }

  onClosed(): void {
    this.isReady = false;
    this.clearInFlight();
  }

  /** The server has these messages. */
  onAccepted(ids: readonly string[]): void {
    const mine = ids.filter((id) => this.has(id));
    if (mine.length === 0) return;
    this.clearShownHold();
    for (const id of mine) dropEntry(this.options.storage, this.options.token, id);
    if (this.inFlight !== null && mine.includes(this.inFlight)) this.clearInFlight();
    this.pump();
  }

  /** Returns whether the refused frame was a message of this outbox. */
  onRefused({ id, code, detail, retry_in }: ErrorFrame): boolean {
    if (id === undefined || !this.has(id)) return false;
    this.clearInFlight();
    if (isHold(code)) {
      this.holdFor(code, retry_in ?? DEFAULT_HOLD_S);
      return true;
    }
    this.clearShownHold();
    this.mark(id, detail);
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
    dropEntry(this.options.storage, this.options.token, id);
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
    // Another tab may have added, sent or removed a message.
    this.entries = readEntries(this.options.storage, this.options.token);
    this.options.onChange(this.view);
    const next = this.entries.find((entry) => entry.refused === undefined);
    if (!this.isReady || this.isHolding || this.inFlight !== null || !next) return;
    this.inFlight = next.id;
    this.ackTimer = setTimeout(() => this.options.onAckTimeout(), ACK_TIMEOUT_MS);
    if (!this.options.send({ type: 'message.send', id: next.id, text: next.text })) this.clearInFlight();
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

  private mark(id: string, refused: string | undefined): void {
    const { storage, token } = this.options;
    const entry = readEntries(storage, token).find((entry) => entry.id === id);
    if (entry) putEntry(storage, token, { ...entry, refused });
  }
}
