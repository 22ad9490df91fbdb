// A server of one conversation, in memory: keeps the document, tells its sockets, and misbehaves on request.
import type { Socket } from '../src/connection/connection';
import type { ClientFrame, EventFrame, HumanMessage, Message, ServerFrame, Snapshot } from '../src/protocol/frames';

type WithoutCursor<Frame> = Frame extends unknown ? Omit<Frame, 'cursor'> : never;
export type NewEvent = WithoutCursor<EventFrame>;

export const human = (id: string, text = `Words of ${id}`): HumanMessage => ({
  id,
  role: 'human',
  text,
  timestamp: '2026-11-22T20:00:00Z',
});

export class FakeSocket implements Socket {
  onopen: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  readonly sent: ClientFrame[] = [];
  closed = false;

  constructor(
    private readonly server: FakeServer,
    readonly after: string | null,
  ) {}

  send(data: string): void {
    const frame = JSON.parse(data) as ClientFrame;
    this.sent.push(frame);
    this.server.heard(frame, this);
  }

  close(): void {
    this.closed = true;
  }

  says(frame: ServerFrame): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }
}

/** The document is kept as design says: each reply directly follows what it answers. */
export class FakeServer {
  readonly sockets: FakeSocket[] = [];
  readonly events: EventFrame[] = [];
  messages: Message[] = [];
  /** What becomes of a `message.send`. */
  onSend: 'accept' | 'ignore' | 'rate_limit' | 'unavailable' | 'too_long' = 'accept';
  reachable = true;
  /** Whether it knows the frames that were added later. */
  isOld = false;
  /** Messages before those of a snapshot. */
  earlier: Message[] = [];
  private reply: Snapshot['reply'] = null;

  readonly makeSocket = (after: string | null): FakeSocket => {
    const socket = new FakeSocket(this, after);
    this.sockets.push(socket);
    return socket;
  };

  get socket(): FakeSocket {
    const last = this.sockets.at(-1);
    if (!last) throw new Error('No socket was made.');
    return last;
  }

  get cursor(): string {
    return this.events.at(-1)?.cursor ?? '0-0';
  }

  /** Opens the newest socket as the server would: with a snapshot, or what came after its cursor. */
  accepts(): void {
    const { socket } = this;
    socket.onopen?.();
    const at = this.events.findIndex(({ cursor }) => cursor === socket.after);
    if (socket.after === null || (at < 0 && socket.after !== '0-0')) return socket.says(this.snapshot());
    this.events.slice(at + 1).forEach((event) => socket.says(event));
  }

  closes(code: number): void {
    this.socket.onclose?.({ code });
  }

  snapshot(): Snapshot {
    return {
      type: 'snapshot',
      cursor: this.cursor,
      conversation: { token: 't', name: 'Ada', session_start: '2026-11-22T20:00:00Z', messages: [...this.messages], earlier: this.earlier.length },
      reply: this.reply && { ...this.reply },
      model: { name: 'gpt-j', stand_in: false },
      limits: { text: 4000 },
    };
  }

  /** Writes the event and what it means for the document, then tells the newest socket. */
  happens(event: NewEvent): EventFrame {
    const written = { ...event, cursor: `${1000 + this.events.length}-0` };
    this.events.push(written);
    this.write(written);
    this.sockets.at(-1)?.says(written);
    return written;
  }

  heard(frame: ClientFrame, socket: FakeSocket): void {
    switch (frame.type) {
      case 'message.send':
        return this.heardMessage(frame, socket);
      case 'message.edit':
        if (this.isOld) return socket.says({ type: 'error', code: 'bad_frame', detail: 'Not known here.', id: frame.id });
        this.happens({ type: 'message.edited', to: frame.to, message: human(frame.id, frame.text) });
        return;
      case 'reply.continue':
        if (this.isOld) return socket.says({ type: 'error', code: 'bad_frame', detail: 'Not known here.', id: frame.id });
        return;
      case 'history.before':
        if (this.isOld) return socket.says({ type: 'error', code: 'bad_frame', detail: 'Not known here.' });
        return this.tellHistory(frame.before, socket);
      case 'reply.stop':
      case 'reply.retry':
        return;
    }
  }

  /** Two messages at a time. */
  private tellHistory(before: string, socket: FakeSocket): void {
    const all = [...this.earlier, ...this.messages];
    const end = all.findIndex(({ id }) => id === before);
    const start = Math.max(0, end - 2);
    socket.says({ type: 'history', before, messages: all.slice(start, end), earlier: start });
  }

  private heardMessage(frame: Extract<ClientFrame, { type: 'message.send' }>, socket: FakeSocket): void {
    const { id } = frame;
    switch (this.onSend) {
      case 'accept': {
        const before = this.events.find((event) => event.type === 'message.accepted' && event.message.id === id);
        if (before) socket.says(before);
        else this.happens({ type: 'message.accepted', message: human(id, frame.text) });
        return;
      }
      case 'rate_limit':
        return socket.says({ type: 'error', code: 'rate_limited', detail: 'Too many.', id, retry_in: 5 });
      case 'unavailable':
      case 'too_long':
        return socket.says({ type: 'error', code: this.onSend, detail: `It is ${this.onSend}.`, id });
      case 'ignore':
        return;
    }
  }

  private write(event: EventFrame): void {
    switch (event.type) {
      case 'message.accepted':
        this.messages.push(event.message);
        return;
      case 'message.edited': {
        const at = this.messages.findIndex(({ id }) => id === event.to);
        this.messages = [...this.messages.slice(0, at), event.message];
        this.reply = null;
        return;
      }
      case 'reply.started':
        this.messages = this.messages.map((message) => {
          if (message.id !== event.to || message.role !== 'human') return message;
          const { failed: _, ...rest } = message;
          return rest;
        });
        this.reply = { id: event.id, to: event.to, text: '', state: 'writing' };
        return;
      case 'reply.waiting':
        if (this.reply) this.reply = { ...this.reply, state: 'waiting', reason: event.reason, retry_in: event.retry_in };
        return;
      case 'reply.delta':
        if (this.reply) this.reply = { id: this.reply.id, to: this.reply.to, state: 'writing', text: this.reply.text + event.text };
        return;
      case 'reply.finished': {
        const { to } = event.message;
        const others = this.messages.filter((message) => message.role === 'human' || message.to !== to);
        const at = others.findIndex(({ id }) => id === to) + 1;
        this.messages = [...others.slice(0, at), event.message, ...others.slice(at)];
        this.reply = null;
        return;
      }
      case 'reply.failed': {
        const { id, to, code, detail, retryable, text } = event;
        this.messages = this.messages.map((message) =>
          message.id === to && message.role === 'human' ? { ...message, failed: { id, code, detail, retryable, text } } : message,
        );
        this.reply = null;
        return;
      }
      case 'conversation.deleted':
        this.messages = [];
    }
  }
}
