// One socket at a time to one conversation, and coming back when it goes. Knows no React and no frames' meaning.
import { delayBefore } from '../backoff';
import { meaningOf } from '../protocol/closeCodes';
import type { ClientFrame, Cursor, ServerFrame } from '../protocol/frames';
import { parseFrame } from '../protocol/parse';
import type { Status, Trouble } from './status';

/** The part of a WebSocket that is used here. */
export interface Socket {
  send: (data: string) => void;
  close(code?: number): void;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
}

export interface ConnectionOptions {
  /** Makes a socket that goes on after the cursor, or from the start for null. */
  makeSocket: (after: Cursor | null) => Socket;
  /** Where the page is in the stream now. */
  cursor: () => Cursor | null;
  onFrame: (frame: ServerFrame) => void;
  onStatus: (status: Status) => void;
  /** `resumed`: the socket goes on from a cursor, so no snapshot may come. */
  onOpen: (resumed: boolean) => void;
  /** Whether the server answers plain HTTP. */
  isUp: () => Promise<boolean>;
  random?: () => number;
}

/** A handshake that takes longer is given up. */
const HANDSHAKE_MS = 10_000;

/** A socket that lasted this long was a good one, even if nothing was said on it. */
const STEADY_MS = 5_000;

/** So many handshakes must fail in a row before something in between is suspected. */
const SUSPICIOUS = 3;

export class Connection {
  private socket: Socket | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private downSince = 0;
  private trouble: Trouble | null = null;
  private status: Status = { state: 'idle' };

  constructor(private readonly options: ConnectionOptions) {}

  get isOpen(): boolean {
    return this.status.state === 'open';
  }

  /** Whether it wants to be open: started, and not refused. */
  get isWanted(): boolean {
    return this.status.state !== 'idle' && this.status.state !== 'refused';
  }

  /** Drops whatever socket there is and opens another at once, from the cursor. */
  connectNow(): void {
    if (this.isOpen || !this.isWanted) this.downSince = Date.now();
    this.drop();
    const after = this.options.cursor();
    const socket = this.options.makeSocket(after);
    this.socket = socket;
    this.enter({ state: 'connecting', downSince: this.downSince, cause: this.trouble });
    this.timer = setTimeout(() => this.lost('lost'), HANDSHAKE_MS);
    socket.onopen = () => this.opened(after !== null);
    socket.onmessage = (event) => this.received(event.data);
    socket.onclose = (event) => this.closed(event.code);
  }

  /** Says whether the frame went out; on false it must be sent again once open. */
  send(frame: ClientFrame): boolean {
    if (!this.isOpen || !this.socket) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** The network says that it is gone: the socket is not waited for. */
  networkLost(): void {
    if (this.isWanted) this.lost('lost');
  }

  stop(): void {
    this.drop();
    this.enter({ state: 'idle' });
  }

  private opened(resumed: boolean): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.failures = 0), STEADY_MS);
    this.trouble = null;
    this.enter({ state: 'open' });
    this.options.onOpen(resumed);
  }

  private received(data: unknown): void {
    // A frame, not the mere handshake, shows that the server is well again.
    this.failures = 0;
    const frame = parseFrame(data);
    if (frame) this.options.onFrame(frame);
  }

  private closed(code: number): void {
    const meaning = meaningOf(code);
    if ('comeBack' in meaning) return this.lost(meaning.comeBack);
    this.drop();
    this.enter({ state: 'refused', why: meaning.stay });
  }

  private lost(cause: Trouble): void {
    const wasOpen = this.isOpen;
    this.drop();
    if (wasOpen) this.downSince = Date.now();
    // That another handshake failed does not say why the line went down in the first place.
    if (wasOpen || this.trouble === null) this.trouble = cause;
    const delay = delayBefore(this.failures, cause === 'blocked' ? 'lost' : cause, this.random());
    this.failures += 1;
    this.timer = setTimeout(() => this.connectNow(), delay);
    this.enter({
      state: 'waiting',
      downSince: this.downSince,
      cause: this.trouble,
      retryAt: Date.now() + delay,
    });
    if (!wasOpen && this.failures >= SUSPICIOUS) void this.suspectProxy();
  }

  /** Handshakes fail: if plain HTTP works, the person needs another sentence. */
  private async suspectProxy(): Promise<void> {
    const up = await this.options.isUp();
    if (!this.isWanted || this.isOpen) return;
    const cause: Trouble = up ? 'blocked' : this.trouble === 'restarting' ? 'restarting' : 'lost';
    this.trouble = cause;
    if (this.status.state === 'waiting') this.enter({ ...this.status, cause });
    if (this.status.state === 'connecting') this.enter({ ...this.status, cause });
  }

  private drop(): void {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  private enter(status: Status): void {
    this.status = status;
    this.options.onStatus(status);
  }

  private random(): number {
    return (this.options.random ?? Math.random)();
  }
}
