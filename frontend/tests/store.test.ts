// What a person lives through with one conversation: store, connection and outbox against a fake server.
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { Storage } from '../src/browser/storage';
import { ConversationStore } from '../src/store';
import type { ClientFrame } from '../src/protocol/frames';
import { FakeServer, human } from './fakeServer';
import { lateView, memoryStorage } from './memoryStorage';

let server: FakeServer;
let storage: Storage;
let store: ConversationStore;
let ids: number;

const open = (): ConversationStore =>
  new ConversationStore({
    token: 't',
    storage,
    newId: () => `id${(ids += 1)}`,
    makeSocket: server.makeSocket,
    isUp: () => Promise.resolve(true),
    throttle: (draw) => draw,
  });

const uiState = () => store.getUiState();
const unsent = () => uiState().outbox.entries.filter(({ accepted }) => !accepted).map(({ text }) => text);
const said = () => uiState().view.messages.map(({ text }) => text);
const sent = (type: ClientFrame['type']) =>
  server.sockets.flatMap((socket) => socket.sent).filter((frame) => frame.type === type);

beforeEach(() => {
  vi.useFakeTimers();
  ids = 0;
  server = new FakeServer();
  storage = memoryStorage();
  store = open();
  store.start();
});

describe('a message', () => {
  it('is shown at once, and is the server’s once accepted', () => {
    server.onSend = 'ignore';
    server.accepts();
    store.send('Hello');
    expect(unsent()).toEqual(['Hello']);
    server.happens({ type: 'message.accepted', message: human('id1', 'Hello') });
    expect(unsent()).toEqual([]);
    expect(said()).toEqual(['Hello']);
  });

  it('written before the first snapshot waits for it', () => {
    store.send('Early');
    server.socket.onopen?.();
    expect(server.socket.sent).toEqual([]);
    server.socket.says(server.snapshot());
    expect(said()).toEqual(['Early']);
  });

  it('written while offline goes out by itself', () => {
    server.accepts();
    server.closes(1006);
    store.send('Offline words');
    expect(unsent()).toEqual(['Offline words']);
    vi.advanceTimersByTime(1000);
    server.accepts();
    expect(said()).toEqual(['Offline words']);
    expect(unsent()).toEqual([]);
  });

  it('outlives a reload', () => {
    store.send('Kept');
    store.stop();
    store = open();
    expect(unsent()).toEqual(['Kept']);
    store.start();
    server.accepts();
    expect(said()).toEqual(['Kept']);
  });

  it('accepted just before the line broke is not there twice', () => {
    server.accepts();
    server.onSend = 'ignore';
    store.send('Once');
    server.closes(1006);
    server.happens({ type: 'message.accepted', message: human('id1', 'Once') });
    server.onSend = 'accept';
    vi.advanceTimersByTime(1000);
    server.accepts();
    expect(said()).toEqual(['Once']);
    expect(unsent()).toEqual([]);
  });

  it('that the snapshot has already is not sent again', () => {
    server.messages = [human('id1', 'There')];
    storage.write('parley:outbox:t:id1', { id: 'id1', text: 'There', at: '' });
    store = open();
    store.start();
    server.accepts();
    expect(sent('message.send')).toEqual([]);
    expect(unsent()).toEqual([]);
  });

  it('follows the one before: order is kept when several wait', () => {
    ['One', 'Two', 'Three'].forEach((text) => store.send(text));
    server.accepts();
    expect(said()).toEqual(['One', 'Two', 'Three']);
  });

  it('that comes too soon waits for as long as the server says, and goes by itself', () => {
    server.accepts();
    server.onSend = 'rate_limit';
    store.send('Fast');
    store.send('Faster');
    expect(uiState().outbox.hold).toEqual({ reason: 'rate_limited', until: Date.now() + 5000 });
    server.onSend = 'accept';
    vi.advanceTimersByTime(4999);
    expect(said()).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(said()).toEqual(['Fast', 'Faster']);
    expect(uiState().outbox.hold).toBeNull();
  });

  it('is kept while the storage is away, and tried again', () => {
    server.accepts();
    server.onSend = 'unavailable';
    store.send('Patient');
    expect(uiState().outbox.hold?.reason).toBe('unavailable');
    vi.advanceTimersByTime(3000);
    expect(sent('message.send')).toHaveLength(2);
    server.onSend = 'accept';
    vi.advanceTimersByTime(3000);
    expect(said()).toEqual(['Patient']);
    expect(uiState().outbox.hold).toBeNull();
  });

  it('that was held back says so until the next try has its answer', () => {
    server.accepts();
    server.onSend = 'unavailable';
    store.send('Patient');
    server.onSend = 'ignore';
    vi.advanceTimersByTime(4000);
    expect(sent('message.send')).toHaveLength(2);
    expect(uiState().outbox.hold?.reason).toBe('unavailable');
    store.withdraw('id1');
    expect(uiState().outbox.hold).toBeNull();
  });

  it('that the server refuses stays, with the reason, and holds up no other', () => {
    server.accepts();
    server.onSend = 'too_long';
    store.send('Too long');
    server.onSend = 'accept';
    store.send('Short');
    expect(store.unsent).toMatchObject([{ text: 'Too long', refused: 'It is too_long.' }]);
    expect(said()).toEqual(['Short']);
    store.withdraw('id1');
    expect(unsent()).toEqual([]);
  });

  it('that the server refused can be sent again', () => {
    server.accepts();
    server.onSend = 'too_long';
    store.send('Again');
    server.onSend = 'accept';
    store.resend('id1');
    expect(said()).toEqual(['Again']);
  });

  it('that closed the socket as too big is not sent for ever', () => {
    server.accepts();
    server.onSend = 'ignore';
    store.send('Huge');
    server.closes(1009);
    vi.advanceTimersByTime(5000);
    server.accepts();
    expect(sent('message.send')).toHaveLength(1);
    expect(uiState().outbox.entries[0]?.refused).toMatch(/too big/);
  });

  it('to which nothing comes back for ten seconds gets a new socket', () => {
    server.accepts();
    server.onSend = 'ignore';
    store.send('Into the void');
    vi.advanceTimersByTime(10_000);
    expect(server.sockets).toHaveLength(2);
    server.onSend = 'accept';
    server.accepts();
    expect(said()).toEqual(['Into the void']);
  });

  it('taken back in another tab is not sent from this one', () => {
    store.send('Regretted');
    storage.remove('parley:outbox:t:id1');
    server.accepts();
    expect(sent('message.send')).toEqual([]);
  });

  it('taken back in another tab while it was on its way is not there again when it is refused', () => {
    server.accepts();
    server.onSend = 'ignore';
    store.send('Regretted');
    storage.remove('parley:outbox:t:id1');
    server.socket.says({ type: 'error', code: 'too_long', detail: 'It is too long.', id: 'id1' });
    expect(unsent()).toEqual([]);
  });

  it('is not lost when another tab, which has not heard of it yet, has its own accepted', () => {
    const kept = new Map<string, string>();
    storage = memoryStorage(kept);
    store = open();
    store.start();
    server.accepts();
    const { socket } = server;
    storage = lateView(kept);
    const other = open();
    other.start();
    server.accepts();
    server.onSend = 'ignore';
    other.send('From the other tab');
    store.send('From this tab');
    server.onSend = 'accept';
    socket.says(server.happens({ type: 'message.accepted', message: human('id1', 'From the other tab') }));
    expect(server.messages.map(({ text }) => text)).toEqual(['From the other tab', 'From this tab']);
  });

  it('that another tab took off the list first lets the next one go', () => {
    server.accepts();
    server.onSend = 'ignore';
    store.send('One');
    storage.remove('parley:outbox:t:id1');
    store.send('Two');
    server.onSend = 'accept';
    server.happens({ type: 'message.accepted', message: human('id1', 'One') });
    expect(said()).toEqual(['One', 'Two']);
  });

  it('that an earlier page left in a list goes out, in order', () => {
    storage.write('parley:outbox:t', [
      { id: 'a', text: 'One', at: '2026-11-22T20:00:00.000Z' },
      { id: 'b', text: 'Two', at: '2026-11-22T20:00:01.000Z' },
    ]);
    store = open();
    store.start();
    server.accepts();
    expect(said()).toEqual(['One', 'Two']);
    expect(storage.read('parley:outbox:t')).toBeNull();
  });

  it('keeps its place when the clock is set back', () => {
    store.send('One');
    vi.setSystemTime(Date.now() - 60_000);
    store.send('Two');
    expect(unsent()).toEqual(['One', 'Two']);
  });
});

describe('an accepted message', () => {
  const replies = (to: string) =>
    server.happens({
      type: 'reply.finished',
      message: { id: `r-${to}`, to, role: 'bot', text: 'Yes.', finish_reason: 'stop', timestamp: '2026-11-22T20:00:01Z' },
    });
  const reconnects = (code = 1012) => {
    server.closes(code);
    vi.advanceTimersByTime(3000);
    server.accepts();
  };
  /** The server comes back without what happened since the last save of its storage. */
  const forgets = () => {
    server.messages = [];
    server.events.length = 0;
  };

  it('that the server lost before its reply is sent again with the same id', () => {
    server.accepts();
    store.send('Precious');
    server.happens({ type: 'reply.started', id: 'r', to: 'id1' });
    forgets();
    reconnects();
    expect(sent('message.send').map((frame) => 'id' in frame && frame.id)).toEqual(['id1', 'id1']);
    expect(said()).toEqual(['Precious']);
  });

  it('that the server lost while the page was closed is sent again too', () => {
    server.accepts();
    store.send('Precious');
    store.stop();
    forgets();
    store = open();
    store.start();
    server.accepts();
    expect(said()).toEqual(['Precious']);
    expect(sent('message.send')).toHaveLength(2);
  });

  it('is not sent again once its reply has ended', () => {
    server.accepts();
    store.send('Answered');
    replies('id1');
    expect(storage.keys('parley:outbox:')).toEqual([]);
    forgets();
    reconnects();
    expect(sent('message.send')).toHaveLength(1);
  });

  it('is not sent again once its reply has failed', () => {
    server.accepts();
    store.send('In vain');
    server.happens({ type: 'reply.failed', id: 'r', to: 'id1', code: 'x', detail: 'No.', retryable: false });
    expect(storage.keys('parley:outbox:')).toEqual([]);
  });

  it('is not sent again while the server has it', () => {
    server.accepts();
    store.send('Waiting');
    reconnects(1006);
    store.stop();
    store = open();
    store.start();
    server.accepts();
    expect(sent('message.send')).toHaveLength(1);
    expect(unsent()).toEqual([]);
  });

  it('whose reply ended so long ago that the snapshot begins later is asked for once and then left alone', () => {
    storage.write('parley:outbox:t:old', { id: 'old', text: 'Old', at: '', accepted: true });
    server.happens({ type: 'message.accepted', message: human('old', 'Old') });
    server.happens({ type: 'message.accepted', message: human('later', 'Later') });
    server.messages = server.messages.slice(1);
    store = open();
    store.start();
    server.accepts();
    expect(said()).toEqual(['Later']);
    expect(storage.keys('parley:outbox:t:old')).toEqual([]);
  });
});

describe('a message that no server can read', () => {
  it('is refused before it is sent, and those behind it go out', () => {
    server.accepts();
    store.send('A half: \ud83d');
    store.send('Next');
    expect(store.unsent).toMatchObject([{ text: 'A half: \ud83d', refused: expect.stringMatching('broken character') as string }]);
    expect(said()).toEqual(['Next']);
  });

  it('is refused too if the server cannot even tell its id', () => {
    server.accepts();
    server.onSend = 'ignore';
    store.send('Odd');
    store.send('Next');
    server.onSend = 'accept';
    server.socket.says({ type: 'error', code: 'bad_frame', detail: 'This frame is not JSON.' });
    expect(store.unsent).toMatchObject([{ text: 'Odd', refused: 'This frame is not JSON.' }]);
    expect(said()).toEqual(['Next']);
  });
});

describe('a conversation that another tab deletes', () => {
  it.each([0, 1, 2])('leaves all unsent messages to this tab, also if the storage was emptied before message %i', (when) => {
    server.onSend = 'ignore';
    server.accepts();
    ['One', 'Two', 'Three'].forEach((text, at) => {
      if (at === when) storage.keys('parley:outbox:').forEach((key) => storage.remove(key));
      store.send(text);
    });
    server.happens({ type: 'conversation.deleted' });
    expect(store.unsent.map(({ text }) => text)).toEqual(['One', 'Two', 'Three']);
  });
});

describe('a reply', () => {
  const begun = () => {
    server.accepts();
    store.send('Question');
    server.happens({ type: 'reply.started', id: 'r', to: 'id1' });
    server.happens({ type: 'reply.delta', id: 'r', text: 'An ans' });
  };
  const finishes = (finish_reason: 'stop' | 'stopped' = 'stop', id = 'r') =>
    server.happens({
      type: 'reply.finished',
      message: { id, to: 'id1', role: 'bot', text: 'An answer', finish_reason, timestamp: '2026-11-22T20:00:01Z' },
    });

  it('goes on after a break where it was', () => {
    begun();
    server.closes(1006);
    server.happens({ type: 'reply.delta', id: 'r', text: 'wer' });
    vi.advanceTimersByTime(1000);
    expect(server.socket.after).toBe('1002-0');
    server.accepts();
    expect(store.getStreamingText()).toBe('An answer');
  });

  it('tells only those who look at the words when a word comes', () => {
    begun();
    const before = uiState();
    server.happens({ type: 'reply.delta', id: 'r', text: 'wer' });
    expect(uiState()).toBe(before);
    expect(store.getStreamingText()).toBe('An answer');
  });

  it('is stopping from the press of the button until it has stopped', () => {
    begun();
    store.stopReply('id1');
    expect(sent('reply.stop')).toEqual([{ type: 'reply.stop', to: 'id1' }]);
    expect(uiState().stopping).toBe('id1');
    finishes('stopped');
    expect(uiState().stopping).toBeNull();
  });

  it('stopped while offline is stopped on return', () => {
    begun();
    server.closes(1006);
    store.stopReply('id1');
    vi.advanceTimersByTime(1000);
    server.accepts();
    expect(sent('reply.stop')).toEqual([{ type: 'reply.stop', to: 'id1' }]);
  });

  it('asked for again is asked for once more when the line broke before an answer', () => {
    begun();
    finishes();
    store.retryReply('id1');
    expect(uiState().pendingRetry).toEqual({ type: 'reply.retry', to: 'id1', id: 'id2' });
    server.closes(1006);
    vi.advanceTimersByTime(1000);
    server.accepts();
    expect(sent('reply.retry')).toHaveLength(2);
    server.happens({ type: 'reply.started', id: 'id2', to: 'id1' });
    expect(uiState().pendingRetry).toBeNull();
  });

  it('asked for while another is written says why not', () => {
    begun();
    finishes();
    store.retryReply('id1');
    server.socket.says({ type: 'error', code: 'busy', detail: 'A reply is still being written.', id: 'id2' });
    expect(uiState()).toMatchObject({ pendingRetry: null, notice: 'A reply is still being written.' });
  });

  it('that waits for a worker says so until one comes', () => {
    begun();
    server.socket.says({ type: 'service', state: 'no_worker' });
    expect(uiState().view.service).toBe('no_worker');
    server.socket.says({ type: 'service', state: 'ok' });
    expect(uiState().view.service).toBe('ok');
  });

  it('does not keep a place in the queue that the server may not know any more', () => {
    begun();
    server.socket.says({ type: 'queue', ahead: 2 });
    expect(uiState().view.ahead).toBe(2);
    server.closes(1006);
    vi.advanceTimersByTime(1000);
    server.accepts();
    expect(uiState().view.ahead).toBeNull();
    server.socket.says({ type: 'queue', ahead: 1 });
    server.happens({ type: 'reply.started', id: 'r1', to: 'id1' });
    expect(uiState().view.ahead).toBeNull();
  });

  it('does not wait for a worker any more if on return the server says nothing of it', () => {
    begun();
    server.socket.says({ type: 'service', state: 'no_worker' });
    server.closes(1006);
    vi.advanceTimersByTime(1000);
    server.accepts();
    expect(uiState().view.service).toBe('ok');
  });
});

describe('an edited message', () => {
  const answered = () => {
    server.accepts();
    store.send('First');
    server.happens({
      type: 'reply.finished',
      message: { id: 'r', to: 'id1', role: 'bot', text: 'Yes.', finish_reason: 'stop', timestamp: '2026-11-22T20:00:01Z' },
    });
  };

  it('takes the place of the old one and its reply', () => {
    answered();
    store.edit('id1', 'Better');
    expect(sent('message.edit')).toEqual([{ type: 'message.edit', to: 'id1', id: 'id2', text: 'Better' }]);
    expect(said()).toEqual(['Better']);
    expect(unsent()).toEqual([]);
  });

  it('is sent again with the same id when the line broke before an answer, also after a reload', () => {
    answered();
    server.closes(1006);
    store.edit('id1', 'Better');
    store.stop();
    store = open();
    store.start();
    server.accepts();
    expect(sent('message.edit')).toEqual([{ type: 'message.edit', to: 'id1', id: 'id2', text: 'Better' }]);
    expect(said()).toEqual(['Better']);
  });

  it('comes back with the reason from a server that cannot replace messages', () => {
    server.isOld = true;
    answered();
    store.edit('id1', 'Better');
    expect(store.unsent).toMatchObject([{ text: 'Better', replaces: 'id1', refused: 'Not known here.' }]);
    store.withdraw('id2');
    expect(said()).toEqual(['First', 'Yes.']);
  });
});

describe('a reply that was cut off', () => {
  it('is asked to go on, once more after a break', () => {
    server.accepts();
    store.send('Tell me');
    store.retryReply('id1', 'reply.continue');
    server.closes(1006);
    vi.advanceTimersByTime(1000);
    server.accepts();
    expect(sent('reply.continue')).toEqual(Array(2).fill({ type: 'reply.continue', to: 'id1', id: 'id2' }));
    server.happens({ type: 'reply.started', id: 'id2', to: 'id1' });
    expect(uiState().pendingRetry).toBeNull();
  });

  it('says so when the server cannot continue it, and the sentence leaves by itself', () => {
    server.isOld = true;
    server.accepts();
    store.send('Tell me');
    store.retryReply('id1', 'reply.continue');
    expect(uiState()).toMatchObject({ pendingRetry: null, notice: 'This reply cannot be continued.' });
    vi.advanceTimersByTime(10_000);
    expect(uiState().notice).toBeNull();
  });
});

describe('earlier messages', () => {
  beforeEach(() => {
    server.earlier = ['e1', 'e2', 'e3'].map((id) => human(id));
    server.messages = [human('a')];
  });

  it('come before those that are there, until none is left', () => {
    server.accepts();
    expect(uiState().view.earlier).toBe(3);
    store.loadEarlier();
    expect(uiState().view.messages.map(({ id }) => id)).toEqual(['e2', 'e3', 'a']);
    expect(uiState()).toMatchObject({ loadingEarlier: false, view: { earlier: 1 } });
    store.loadEarlier();
    store.loadEarlier();
    expect(uiState().view.messages.map(({ id }) => id)).toEqual(['e1', 'e2', 'e3', 'a']);
    expect(sent('history.before')).toEqual(['a', 'e2'].map((before) => ({ type: 'history.before', before })));
  });

  it('are there as soon as the page no longer loads, so that it does not ask for more', () => {
    server.accepts();
    const seen: [boolean, number][] = [];
    store.subscribe(() => seen.push([uiState().loadingEarlier, said().length]));
    store.loadEarlier();
    expect(seen[0]).toEqual([true, 1]);
    expect(seen.at(-1)).toEqual([false, 3]);
    expect(seen).not.toContainEqual([false, 1]);
  });

  it('stay when a later snapshot begins after them', () => {
    server.accepts();
    store.loadEarlier();
    server.closes(1012);
    server.events.length = 0;
    vi.advanceTimersByTime(3000);
    server.socket.onopen?.();
    server.socket.says({ ...server.snapshot(), cursor: '5000-0' });
    expect(uiState().view.messages.map(({ id }) => id)).toEqual(['e2', 'e3', 'a']);
    expect(uiState().view.earlier).toBe(1);
  });

  it('are not asked for again when the server does not know the question', () => {
    server.isOld = true;
    server.accepts();
    store.loadEarlier();
    expect(uiState()).toMatchObject({ loadingEarlier: false, view: { earlier: 0 }, notice: null });
  });
});

describe('a return', () => {
  it('to a server that lost the cursor starts over from a snapshot', () => {
    server.accepts();
    store.send('Hello');
    server.closes(1012);
    server.events.length = 0;
    server.messages = [human('other', 'From elsewhere')];
    vi.advanceTimersByTime(3000);
    server.accepts();
    expect(said()).toEqual(['From elsewhere', 'Hello']);
  });
});
