// One open conversation: connection, state and outbox together. Knows nothing of React.
import { Connection, type ConversationServerFrame, type Socket } from './connection/connection';
import type { Status } from './connection/status';
import type { OutboxEntry, PendingRetry } from './conversation/exchanges';
import { reduce, type ConversationFrame } from './conversation/reduce';
import { hasMessage } from './conversation/transcript';
import { initialState, type ConversationState, type View } from './conversation/state';
import { Outbox, type OutboxView } from './outbox/outbox';
import type { Cursor, ErrorFrame } from './protocol/frames';
import type { Storage } from './browser/storage';

export interface UiState {
  view: View;
  outbox: OutboxView;
  link: Status;
  /** The message whose reply was asked to stop and has not stopped yet. */
  stopping: string | null;
  /** A retry that the server has not confirmed yet. */
  pendingRetry: PendingRetry | null;
  /** A sentence about something that did not work. It leaves by itself. */
  notice: string | null;
  /** Earlier messages were asked for. */
  loadingEarlier: boolean;
}

export interface StoreOptions {
  token: string;
  storage: Storage;
  newId: () => string;
  makeSocket: (after: Cursor | null) => Socket;
  isUp: () => Promise<boolean>;
  /** Wraps a function so that frequent calls run it only now and then. */
  throttle: (publish: () => void) => () => void;
}

/** How long a notice stays. */
const NOTICE_MS = 10_000;

const CANNOT_CONTINUE = 'This reply cannot be continued.';

export class ConversationStore {
  readonly connection: Connection;
  private readonly outbox: Outbox;
  private readonly listeners = new Set<() => void>();
  private readonly publishSoon: () => void;
  private state: ConversationState = initialState;
  private noticeTimer: ReturnType<typeof setTimeout> | undefined;
  private uiState: UiState;
  /** What the listeners saw last. */
  private published: { uiState: UiState; streamingText: string };

  constructor(private readonly options: StoreOptions) {
    this.publishSoon = options.throttle(() => this.publish());
    this.connection = new Connection({
      makeSocket: options.makeSocket,
      isUp: options.isUp,
      cursor: () => this.state.cursor,
      isBusy: () => this.state.view.reply !== null,
      onFrame: (frame) => this.onFrame(frame),
      onStatus: (link) => this.onStatus(link),
      onOpen: (resumed) => resumed && this.onResumed(),
    });
    this.outbox = new Outbox({
      token: options.token,
      storage: options.storage,
      send: (frame) => this.connection.send(frame),
      onChange: (outbox) => this.update({ outbox }),
      onAckTimeout: () => this.connection.connectNow(),
    });
    this.uiState = {
      view: initialState.view,
      outbox: this.outbox.view,
      link: { state: 'idle' },
      stopping: null,
      pendingRetry: null,
      notice: null,
      loadingEarlier: false,
    };
    this.published = { uiState: this.uiState, streamingText: '' };
  }

  start(): void {
    this.connection.connectNow();
  }

  stop(): void {
    clearTimeout(this.noticeTimer);
    this.connection.stop();
    this.outbox.stop();
  }

  /** Every message that the server never accepted. */
  get unsent(): OutboxEntry[] {
    return this.outbox.unsent;
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly getUiState = (): UiState => this.published.uiState;

  /** The text so far of the reply in progress. */
  readonly getStreamingText = (): string => this.published.streamingText;

  /** Returns the id of the message. */
  send(text: string): string {
    return this.add(text);
  }

  /** Replaces the message `to`, the last one, and its reply. Returns the id of the new message. */
  edit(to: string, text: string): string {
    return this.add(text, to);
  }

  notify(notice: string): void {
    this.update({ notice });
    clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => this.dismissNotice(), NOTICE_MS);
  }

  readonly dismissNotice = (): void => this.update({ notice: null });

  /** Asks for the messages before the first one. */
  readonly loadEarlier = (): void => {
    const { messages, earlier } = this.uiState.view;
    const before = messages[0]?.id;
    if (earlier === 0 || before === undefined || this.uiState.loadingEarlier) return;
    this.update({ loadingEarlier: this.connection.isOpen });
    this.connection.send({ type: 'history.before', before });
  };

  resend(id: string): void {
    this.outbox.resend(id);
  }

  withdraw(id: string): void {
    this.outbox.remove(id);
  }

  stopReply(to: string): void {
    if (this.uiState.pendingRetry?.to === to && !this.connection.isOpen) return this.update({ pendingRetry: null });
    this.update({ stopping: to });
    this.connection.send({ type: 'reply.stop', to });
  }

  retryReply(to: string, type: PendingRetry['type'] = 'reply.retry'): void {
    const pendingRetry = { type, to, id: this.options.newId() };
    this.update({ pendingRetry, notice: null });
    this.connection.send(pendingRetry);
  }

  private add(text: string, replaces?: string): string {
    const id = this.options.newId();
    this.update({ notice: null });
    this.outbox.add(id, text, replaces);
    return id;
  }

  private onFrame(frame: ConversationServerFrame): void {
    if (frame.type === 'error') return this.onError(frame);
    this.apply(frame);
    // In one step with the messages: a page that no longer loads and still shows the old start would ask for more.
    if (frame.type === 'history') this.update({ loadingEarlier: false });
    this.tellOutbox(frame);
    if (frame.type === 'snapshot') this.resendPending();
  }

  private tellOutbox(frame: ConversationFrame): void {
    const { messages } = this.state.view;
    switch (frame.type) {
      case 'snapshot':
        return this.outbox.onSnapshot(messages);
      case 'message.accepted':
        return this.outbox.onAccepted(frame.message.id, !hasMessage(messages, frame.message.id));
      case 'message.edited':
        this.outbox.onEnded(frame.to);
        return this.outbox.onAccepted(frame.message.id);
      case 'reply.finished':
        return frame.message.to === undefined ? undefined : this.outbox.onEnded(frame.message.to);
      case 'reply.failed':
        return this.outbox.onEnded(frame.to);
      default:
        return;
    }
  }

  private apply(frame: ConversationFrame): void {
    this.state = reduce(this.state, frame, Date.now());
    const { view } = this.state;
    if (view !== this.uiState.view) this.uiState = { ...this.uiState, view, ...this.clearFulfilled(frame) };
    this.publishSoon();
  }

  /** Which pending requests a frame has fulfilled or made pointless. */
  private clearFulfilled(frame: ConversationFrame): Partial<UiState> {
    const { pendingRetry, stopping } = this.uiState;
    switch (frame.type) {
      case 'reply.started':
        return pendingRetry?.to === frame.to ? { pendingRetry: null } : {};
      case 'reply.waiting':
        return pendingRetry?.id === frame.id ? { pendingRetry: null } : {};
      case 'reply.finished':
      case 'reply.failed': {
        const to = frame.type === 'reply.failed' ? frame.to : frame.message.to;
        return { stopping: stopping === to ? null : stopping, pendingRetry: pendingRetry?.to === to ? null : pendingRetry };
      }
      case 'snapshot':
        return this.clearAfterSnapshot();
      default:
        return {};
    }
  }

  private clearAfterSnapshot(): Partial<UiState> {
    const { pendingRetry, stopping } = this.uiState;
    const { messages, reply } = this.state.view;
    const last = messages.findLast((message) => message.role === 'human')?.id;
    const known = messages.some(({ id }) => id === pendingRetry?.id) || reply?.id === pendingRetry?.id;
    const unanswered = messages.at(-1)?.role === 'human' || reply?.to === stopping;
    return {
      pendingRetry: pendingRetry && !known && pendingRetry.to === last ? pendingRetry : null,
      stopping: unanswered ? stopping : null,
    };
  }

  /** Resumed from a cursor. The server reports problems of the service after this, but not that all is well. */
  private onResumed(): void {
    this.apply({ type: 'service', state: 'ok' });
    this.apply({ type: 'queue', ahead: null });
    this.resendPending();
  }

  /** The page now knows what the server has, so it sends the requests that did not arrive. */
  private resendPending(): void {
    const { pendingRetry, stopping } = this.uiState;
    if (pendingRetry) this.connection.send(pendingRetry);
    if (stopping !== null) this.connection.send({ type: 'reply.stop', to: stopping });
    this.outbox.onReady();
  }

  private onError(error: ErrorFrame): void {
    if (error.id === undefined && this.uiState.loadingEarlier) return this.onHistoryRefused(error);
    if (this.outbox.onRefused(error)) return;
    const { pendingRetry } = this.uiState;
    const isRetry = error.id !== undefined && error.id === pendingRetry?.id;
    const isUnknown = isRetry && pendingRetry.type === 'reply.continue' && error.code === 'bad_frame';
    if (isRetry) this.update({ pendingRetry: null });
    this.notify(isUnknown ? CANNOT_CONTINUE : error.detail);
  }

  /** A server that does not know this frame has sent the whole conversation, or will never send more of it. */
  private onHistoryRefused({ code }: ErrorFrame): void {
    this.update({ loadingEarlier: false });
    if (code !== 'bad_frame') return;
    const first = this.uiState.view.messages[0]?.id ?? '';
    this.apply({ type: 'history', before: first, messages: [], earlier: 0 });
  }

  private onStatus(link: Status): void {
    if (link.state === 'waiting' && link.cause === 'too_big') {
      this.outbox.refuseInFlight('The server refused this message because it is too big.');
    }
    if (link.state !== 'open') this.outbox.onClosed();
    this.update(link.state === 'open' ? { link } : { link, loadingEarlier: false });
  }

  /** Publishes at once. Only the growing text of a reply is throttled. */
  private update(changed: Partial<UiState>): void {
    this.uiState = { ...this.uiState, ...changed };
    this.publish();
  }

  private publish(): void {
    if (this.published.uiState === this.uiState && this.published.streamingText === this.state.streamingText) return;
    this.published = { uiState: this.uiState, streamingText: this.state.streamingText };
    for (const listener of [...this.listeners]) listener();
  }
}
