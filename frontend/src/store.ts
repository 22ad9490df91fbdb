// One open conversation: its connection, its state and its outbox, put together. Knows no React.
import { Connection, type Socket } from './connection/connection';
import type { Status } from './connection/status';
import type { AskedRetry } from './conversation/exchanges';
import { reduce, type ConversationFrame } from './conversation/reduce';
import { nothingYet, type ConversationState, type View } from './conversation/state';
import { Outbox, type OutboxView } from './outbox/outbox';
import type { Cursor, ErrorFrame, ServerFrame } from './protocol/frames';
import type { Storage } from './browser/storage';

export interface Shown {
  view: View;
  outbox: OutboxView;
  link: Status;
  /** The message whose reply was asked to stop, until it has. */
  stopping: string | null;
  /** A retry of which the server has said nothing yet. */
  asked: AskedRetry | null;
  /** A refusal that belongs to no message, in the server's words. */
  notice: string | null;
}

export interface StoreOptions {
  token: string;
  storage: Storage;
  newId: () => string;
  makeSocket: (after: Cursor | null) => Socket;
  isUp: () => Promise<boolean>;
  /** Makes of a drawing function one that may be called often. */
  paced: (draw: () => void) => () => void;
}

export class ConversationStore {
  readonly connection: Connection;
  private readonly outbox: Outbox;
  private readonly listeners = new Set<() => void>();
  private readonly drawSoon: () => void;
  private state: ConversationState = nothingYet;
  private shown: Shown;
  /** What the listeners were told of last. */
  private drawn: { shown: Shown; words: string };

  constructor(private readonly options: StoreOptions) {
    this.drawSoon = options.paced(() => this.draw());
    this.connection = new Connection({
      makeSocket: options.makeSocket,
      isUp: options.isUp,
      cursor: () => this.state.cursor,
      onFrame: (frame) => this.received(frame),
      onStatus: (link) => this.linkChanged(link),
      onOpen: (resumed) => resumed && this.resumed(),
    });
    this.outbox = new Outbox({
      token: options.token,
      storage: options.storage,
      send: (frame) => this.connection.send(frame),
      onChange: (outbox) => this.show({ outbox }),
      onSilence: () => this.connection.connectNow(),
    });
    this.shown = {
      view: nothingYet.view,
      outbox: this.outbox.view,
      link: { state: 'idle' },
      stopping: null,
      asked: null,
      notice: null,
    };
    this.drawn = { shown: this.shown, words: '' };
  }

  start(): void {
    this.connection.connectNow();
  }

  stop(): void {
    this.connection.stop();
    this.outbox.stop();
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly getShown = (): Shown => this.drawn.shown;

  /** The words so far of the reply in progress. */
  readonly getWords = (): string => this.drawn.words;

  /** Returns the id that the message goes by. */
  send(text: string): string {
    const id = this.options.newId();
    this.show({ notice: null });
    this.outbox.add(id, text);
    return id;
  }

  sendAgain(id: string): void {
    this.outbox.again(id);
  }

  takeBack(id: string): void {
    this.outbox.remove(id);
  }

  stopReply(to: string): void {
    if (this.shown.asked?.to === to && !this.connection.isOpen) return this.show({ asked: null });
    this.show({ stopping: to });
    this.connection.send({ type: 'reply.stop', to });
  }

  retryReply(to: string): void {
    const asked = { to, id: this.options.newId() };
    this.show({ asked, notice: null });
    this.connection.send({ type: 'reply.retry', ...asked });
  }

  private received(frame: ServerFrame): void {
    if (frame.type === 'error') return this.refused(frame);
    this.apply(frame);
    if (frame.type === 'message.accepted') this.outbox.accepted([frame.message.id]);
    if (frame.type === 'snapshot') this.caughtUp();
  }

  private apply(frame: ConversationFrame): void {
    this.state = reduce(this.state, frame, Date.now());
    const { view } = this.state;
    if (view !== this.shown.view) this.shown = { ...this.shown, view, ...this.settled(frame) };
    this.drawSoon();
  }

  /** Which of the person's wishes a frame has fulfilled, or made pointless. */
  private settled(frame: ConversationFrame): Partial<Shown> {
    const { asked, stopping } = this.shown;
    switch (frame.type) {
      case 'reply.started':
        return asked?.to === frame.to ? { asked: null } : {};
      case 'reply.waiting':
        return asked?.id === frame.id ? { asked: null } : {};
      case 'reply.finished':
      case 'reply.failed': {
        const to = frame.type === 'reply.failed' ? frame.to : frame.message.to;
        return { stopping: stopping === to ? null : stopping, asked: asked?.to === to ? null : asked };
      }
      case 'snapshot':
        return this.settledBySnapshot();
      default:
        return {};
    }
  }

  private settledBySnapshot(): Partial<Shown> {
    const { asked, stopping } = this.shown;
    const { messages, reply } = this.state.view;
    const last = messages.findLast((message) => message.role === 'human')?.id;
    const known = messages.some(({ id }) => id === asked?.id) || reply?.id === asked?.id;
    const unanswered = messages.at(-1)?.role === 'human' || reply?.to === stopping;
    return {
      asked: asked && !known && asked.to === last ? asked : null,
      stopping: unanswered ? stopping : null,
    };
  }

  /** Gone on from a cursor: the server says what is amiss with its service, but not that all is well. */
  private resumed(): void {
    this.apply({ type: 'service', state: 'ok' });
    this.caughtUp();
  }

  /** The page knows what the server has: now go out the wishes that did not reach it. */
  private caughtUp(): void {
    const { asked, stopping } = this.shown;
    this.outbox.accepted(this.state.view.messages.map(({ id }) => id));
    if (asked) this.connection.send({ type: 'reply.retry', ...asked });
    if (stopping !== null) this.connection.send({ type: 'reply.stop', to: stopping });
    this.outbox.opened();
  }

  private refused(error: ErrorFrame): void {
    if (this.outbox.refused(error)) return;
    const ofRetry = error.id !== undefined && error.id === this.shown.asked?.id;
    this.show({ notice: error.detail, asked: ofRetry ? null : this.shown.asked });
  }

  private linkChanged(link: Status): void {
    if (link.state === 'waiting' && link.cause === 'too_big') {
      this.outbox.refuseAwaited('The server refused this message because it is too big.');
    }
    if (link.state !== 'open') this.outbox.closed();
    this.show({ link });
  }

  /** For what the person did or must see now; the words of a reply are paced. */
  private show(changed: Partial<Shown>): void {
    this.shown = { ...this.shown, ...changed };
    this.draw();
  }

  private draw(): void {
    if (this.drawn.shown === this.shown && this.drawn.words === this.state.words) return;
    this.drawn = { shown: this.shown, words: this.state.words };
    for (const listener of [...this.listeners]) listener();
  }
}
