// Sends what is not accepted yet, one after the other, for as long as it takes.
import type { Storage } from '../browser/storage';
import type { Entry } from '../conversation/exchanges';
import type { ClientFrame, ErrorFrame } from '../protocol/frames';
import { dropEntry, nextMoment, putEntry, readEntries } from './entries';

/** Nothing is sent before `until` (ms of the clock); then it goes on by itself. It is shown until that try has its answer. */
export interface Hold {
  reason: 'rate_limited' | 'busy' | 'unavailable';
  until: number;
}

export interface OutboxView {
  entries: readonly Entry[];
  hold: Hold | null;
}

export interface OutboxOptions {
  token: string;
  storage: Storage;
  /** False when the frame could not go out. */
  send: (frame: ClientFrame) => boolean;
  onChange: (view: OutboxView) => void;
  /** A message went out and nothing came back for too long: the line may be dead without saying so. */
  onSilence: () => void;
}

/** The server accepts a message in milliseconds; after this long the socket is not believed any more. */
const SILENCE_MS = 10_000;

/** Until the next try after `unavailable` or `busy`, which name no time. */
const HOLD_S = 3;

const isHold = (code: string): code is Hold['reason'] =>
  code === 'rate_limited' || code === 'busy' || code === 'unavailable';

export class Outbox {
  private entries: Entry[];
  private hold: Hold | null = null;
  private holding = false;
  private ready = false;
  private awaited: string | null = null;
  private holdTimer: ReturnType<typeof setTimeout> | undefined;
  private silenceTimer: ReturnType<typeof setTimeout> | undefined;

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

  /** The line is open and the page knows what the server has. */
  opened(): void {
    this.ready = true;
    this.stopAwaiting();
    this.pump();
  }

  closed(): void {
    this.ready = false;
    this.stopAwaiting();
  }

  /** The server has it: it is no more of the outbox's business. */
  accepted(ids: readonly string[]): void {
    const mine = ids.filter((id) => this.has(id));
    if (mine.length === 0) return;
    this.showNoHold();
    for (const id of mine) dropEntry(this.options.storage, this.options.token, id);
    if (this.awaited !== null && mine.includes(this.awaited)) this.stopAwaiting();
    this.pump();
  }

  /** Says whether the refusal was of a message from here. */
  refused({ id, code, detail, retry_in }: ErrorFrame): boolean {
    if (id === undefined || !this.has(id)) return false;
    this.stopAwaiting();
    if (isHold(code)) {
      this.holdFor(code, retry_in ?? HOLD_S);
      return true;
    }
    this.showNoHold();
    this.mark(id, detail);
    this.pump();
    return true;
  }

  /** The socket was closed because of the frame that was sent last. */
  refuseAwaited(detail: string): void {
    if (this.awaited !== null) this.refused({ type: 'error', code: 'too_long', detail, id: this.awaited });
  }

  again(id: string): void {
    this.mark(id, undefined);
    this.pump();
  }

  remove(id: string): void {
    this.showNoHold();
    dropEntry(this.options.storage, this.options.token, id);
    if (this.awaited === id) this.stopAwaiting();
    this.pump();
  }

  stop(): void {
    this.closed();
    clearTimeout(this.holdTimer);
    this.holding = false;
    this.hold = null;
  }

  private pump(): void {
    // Another tab may have put something in, sent or taken back a message since.
    this.entries = readEntries(this.options.storage, this.options.token);
    this.options.onChange(this.view);
    const next = this.entries.find((entry) => entry.refused === undefined);
    if (!this.ready || this.holding || this.awaited !== null || !next) return;
    this.awaited = next.id;
    this.silenceTimer = setTimeout(() => this.options.onSilence(), SILENCE_MS);
    if (!this.options.send({ type: 'message.send', id: next.id, text: next.text })) this.stopAwaiting();
  }

  private holdFor(reason: Hold['reason'], seconds: number): void {
    clearTimeout(this.holdTimer);
    this.holding = true;
    this.hold = { reason, until: Date.now() + seconds * 1000 };
    this.holdTimer = setTimeout(() => this.release(), seconds * 1000);
    this.options.onChange(this.view);
  }

  private release(): void {
    this.holding = false;
    this.pump();
  }

  private showNoHold(): void {
    if (!this.holding) this.hold = null;
  }

  private stopAwaiting(): void {
    clearTimeout(this.silenceTimer);
    this.awaited = null;
  }

  /** Another tab may have taken what was sent last off the list. */
  private has(id: string): boolean {
    return id === this.awaited || this.entries.some((entry) => entry.id === id);
  }

  private mark(id: string, refused: string | undefined): void {
    const { storage, token } = this.options;
    const entry = readEntries(storage, token).find((entry) => entry.id === id);
    if (entry) putEntry(storage, token, { ...entry, refused });
  }
}
