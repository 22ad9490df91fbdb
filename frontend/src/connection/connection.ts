// Keeps one socket to one conversation and reconnects when it closes. Knows nothing of React or of what frames mean.
import { delayBefore } from '../backoff';
import { meaningOf } from '../protocol/closeCodes';
import type { AliveFrame, ClientFrame, Cursor, ServerFrame } from '../protocol/frames';
import { parseFrame } from '../protocol/parse';
import type { Status, Problem } from './status';

/** The part of a WebSocket that is used here. */
export interface Socket {
  send: (data: string) => void;
  close(code?: number): void;
  onopen: (() => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onclose: ((event: { code: number }) => void) | null;
}

/** All frames but the sign of life, which only the connection needs. */
export type ConversationServerFrame = Exclude<ServerFrame, AliveFrame>;

export interface ConnectionOptions {
  /** Makes a socket that resumes after the cursor, or starts with a snapshot for null. */
  makeSocket: (after: Cursor | null) => Socket;
  /** The cursor of the last event that the page has seen. */
  cursor: () => Cursor | null;
  onFrame: (frame: ConversationServerFrame) => void;
  onStatus: (status: Status) => void;
  /** `resumed`: the socket resumes from a cursor, so perhaps no snapshot comes. */
  onOpen: (resumed: boolean) => void;
  /** Whether a reply is being written or waited for. Then a quiet socket is noticed sooner. */
  isBusy: () => boolean;
  /** Whether the server answers HTTP requests. */
  isUp: () => Promise<boolean>;
  random?: () => number;
}

/** A handshake that takes longer is given up. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** A socket that stayed open this long counts as good, even if no frame came. */
const STABLE_AFTER_MS = 5_000;

/** The server sends something at least every 15 seconds. Twice that without a frame means a dead socket. */
const QUIET_LIMIT_MS = 30_000;

/** The same while a reply is under way: one interval and a second for the network. */
const BUSY_QUIET_LIMIT_MS = 16_000;

/** After this many failed handshakes in a row, the page checks whether a proxy blocks WebSockets. */
const FAILURES_BEFORE_PROXY_CHECK = 3;

export class Connection {
  private socket: Socket | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private quietTimer: ReturnType<typeof setTimeout> | undefined;
  /** When the last frame came, or the socket opened, in ms since the epoch. */
  private lastFrameAt = 0;
  private failures = 0;
  private downSince = 0;
  private problem: Problem | null = null;
  private status: Status = { state: 'idle' };

  constructor(private readonly options: ConnectionOptions) {}

  get isOpen(): boolean {
    return this.status.state === 'open';
  }

  /** Whether it should be open: started and not refused. */
  get isWanted(): boolean {
    return this.status.state !== 'idle' && this.status.state !== 'refused';
  }

  /** Closes the current socket and opens a new one at once, from the cursor. */
  connectNow(): void {
    if (this.isOpen || !this.isWanted) this.downSince = Date.now();
    this.closeSocket();
    const after = this.options.cursor();
    const socket = this.options.makeSocket(after);
    this.socket = socket;
    this.setStatus({ state: 'connecting', downSince: this.downSince, cause: this.problem });
    this.timer = setTimeout(() => this.scheduleReconnect('lost'), HANDSHAKE_TIMEOUT_MS);
    socket.onopen = () => this.onSocketOpen(after !== null);
    socket.onmessage = (event) => this.onSocketMessage(event.data);
    socket.onclose = (event) => this.onSocketClose(event.code);
  }

  /** Returns whether the frame was sent. If not, send it again once the connection is open. */
  send(frame: ClientFrame): boolean {
    if (!this.isOpen || !this.socket) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  /** The browser reports that the network is gone, so the socket is given up at once. */
  networkLost(): void {
    if (this.isWanted) this.scheduleReconnect('lost');
  }

  stop(): void {
    this.closeSocket();
    this.setStatus({ state: 'idle' });
  }

  private onSocketOpen(resumed: boolean): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => (this.failures = 0), STABLE_AFTER_MS);
    this.problem = null;
    this.lastFrameAt = Date.now();
    this.checkQuiet();
    this.setStatus({ state: 'open' });
    this.options.onOpen(resumed);
  }

  private onSocketMessage(data: unknown): void {
    // A frame shows that the server works again. A handshake alone does not.
    this.failures = 0;
    this.lastFrameAt = Date.now();
    const frame = parseFrame(data);
    if (frame && frame.type !== 'alive') this.options.onFrame(frame);
  }

  /** A network may swallow what is sent without closing the socket. */
  private checkQuiet(): void {
    const limit = this.options.isBusy() ? BUSY_QUIET_LIMIT_MS : QUIET_LIMIT_MS;
    const left = this.lastFrameAt + limit - Date.now();
    if (left <= 0) return this.connectNow();
    // A reply may begin meanwhile, so the shorter limit is checked in any case.
    this.quietTimer = setTimeout(() => this.checkQuiet(), Math.min(left, BUSY_QUIET_LIMIT_MS));
  }

  private onSocketClose(code: number): void {
    const meaning = meaningOf(code);
    if ('reconnect' in meaning) return this.scheduleReconnect(meaning.reconnect);
    this.closeSocket();
    this.setStatus({ state: 'refused', why: meaning.refused });
  }

  private scheduleReconnect(cause: Problem): void {
    const wasOpen = this.isOpen;
    this.closeSocket();
    if (wasOpen) this.downSince = Date.now();
    // A further failed handshake does not change why the connection was lost.
    if (wasOpen || this.problem === null) this.problem = cause;
    const delay = delayBefore(this.failures, cause === 'blocked' ? 'lost' : cause, this.random());
    this.failures += 1;
    this.timer = setTimeout(() => this.connectNow(), delay);
    this.setStatus({
      state: 'waiting',
      downSince: this.downSince,
      cause: this.problem,
      retryAt: Date.now() + delay,
    });
    if (!wasOpen && this.failures >= FAILURES_BEFORE_PROXY_CHECK) void this.checkForBlockingProxy();
  }

  /** If HTTP works but handshakes fail, the banner says so. */
  private async checkForBlockingProxy(): Promise<void> {
    const up = await this.options.isUp();
    if (!this.isWanted || this.isOpen) return;
    const cause: Problem = up ? 'blocked' : this.problem === 'restarting' ? 'restarting' : 'lost';
    this.problem = cause;
    if (this.status.state === 'waiting') this.setStatus({ ...this.status, cause });
    if (this.status.state === 'connecting') this.setStatus({ ...this.status, cause });
  }

  private closeSocket(): void {
    clearTimeout(this.timer);
    clearTimeout(this.quietTimer);
    this.quietTimer = undefined;
    const socket = this.socket;
    this.socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  private setStatus(status: Status): void {
    this.status = status;
    this.options.onStatus(status);
  }

  private random(): number {
    return (this.options.random ?? Math.random)();
  }
}
