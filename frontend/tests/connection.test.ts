// How a connection is kept, with a fake server and fake time.
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { delayBefore } from '../src/backoff';
import { Connection } from '../src/connection/connection';
import type { Status } from '../src/connection/status';
import { FakeServer } from './fakeServer';

let server: FakeServer;
let connection: Connection;
let statuses: Status[];
let cursor: string | null;
let resumptions: boolean[];
let busy: boolean;

const status = (): Status => statuses.at(-1) ?? { state: 'idle' };

beforeEach(() => {
  vi.useFakeTimers();
  server = new FakeServer();
  statuses = [];
  resumptions = [];
  cursor = null;
  busy = false;
  connection = new Connection({
    makeSocket: server.makeSocket,
    cursor: () => cursor,
    onFrame: (frame) => {
      if ('cursor' in frame) cursor = frame.cursor;
    },
    onStatus: (next) => statuses.push(next),
    isBusy: () => busy,
    onOpen: (resumed) => resumptions.push(resumed),
    isUp: () => Promise.resolve(server.reachable),
    random: () => 0.5,
  });
});

describe('a connection', () => {
  it('asks for a snapshot first, and goes on from its cursor after a break', () => {
    connection.connectNow();
    expect(server.socket.after).toBeNull();
    server.accepts();
    server.closes(1006);
    vi.advanceTimersByTime(1000);
    expect(server.sockets).toHaveLength(2);
    expect(server.socket.after).toBe('0-0');
    server.accepts();
    expect(resumptions).toEqual([false, true]);
  });

  it('waits longer after each failure, and no longer than 15 seconds', () => {
    connection.connectNow();
    const delays = Array.from({ length: 8 }, () => {
      server.closes(1006);
      const now = status();
      const delay = now.state === 'waiting' ? now.retryAt - Date.now() : 0;
      vi.advanceTimersByTime(delay);
      return delay;
    });
    expect(delays).toEqual([375, 750, 1500, 3000, 6000, 11_250, 11_250, 11_250]);
  });

  it('starts again with the short wait once a frame has come', () => {
    connection.connectNow();
    server.closes(1006);
    vi.advanceTimersByTime(1000);
    server.closes(1006);
    vi.advanceTimersByTime(2000);
    server.accepts();
    server.closes(1006);
    expect(status()).toMatchObject({ state: 'waiting', retryAt: Date.now() + 375 });
  });

  it('does not hammer a server that opens and drops without a word', () => {
    connection.connectNow();
    server.socket.onopen?.();
    server.closes(1006);
    vi.advanceTimersByTime(1000);
    server.socket.onopen?.();
    server.closes(1006);
    expect(status()).toMatchObject({ retryAt: Date.now() + 750 });
  });

  it.each([
    [4401, 'gone'],
    [4403, 'forbidden'],
  ])('stays away after %i', (code, why) => {
    connection.connectNow();
    server.accepts();
    server.closes(code);
    expect(status()).toEqual({ state: 'refused', why });
    vi.advanceTimersByTime(60_000);
    expect(server.sockets).toHaveLength(1);
  });

  it.each([
    [1012, 'restarting'],
    [1013, 'behind'],
    [1006, 'lost'],
    [1000, 'lost'],
    [4999, 'lost'],
  ])('comes back after %i (%s)', (code, cause) => {
    connection.connectNow();
    server.accepts();
    server.closes(code);
    expect(status()).toMatchObject({ state: 'waiting', cause });
    vi.advanceTimersByTime(3000);
    expect(server.sockets).toHaveLength(2);
  });

  it('comes back now and then while there is no room, and says so all the time', () => {
    connection.connectNow();
    for (let tries = 1; tries < 5; tries += 1) {
      server.socket.onopen?.();
      server.closes(4429);
      expect(status()).toMatchObject({ state: 'waiting', cause: 'crowded', retryAt: Date.now() + 10_000 });
      vi.advanceTimersByTime(9_999);
      expect(server.sockets).toHaveLength(tries);
      vi.advanceTimersByTime(1);
      expect(status()).toMatchObject({ state: 'connecting', cause: 'crowded' });
    }
    server.accepts();
    server.closes(1006);
    expect(status()).toMatchObject({ state: 'waiting', cause: 'lost' });
  });

  it('goes on saying that the server restarts while handshakes fail', () => {
    connection.connectNow();
    server.accepts();
    server.closes(1012);
    vi.advanceTimersByTime(3000);
    server.closes(1006);
    expect(status()).toMatchObject({ state: 'waiting', cause: 'restarting' });
  });

  it('spreads its return to a restarting server over two seconds', () => {
    expect(delayBefore(0, 'restarting', 0)).toBeLessThan(delayBefore(0, 'restarting', 0.999) - 1500);
  });

  it('gives a handshake up after ten seconds', () => {
    connection.connectNow();
    vi.advanceTimersByTime(10_000);
    expect(server.sockets[0]?.closed).toBe(true);
    expect(status().state).toBe('waiting');
  });

  it('comes back at once when told to, on a new socket, and hears the old one no more', () => {
    connection.connectNow();
    server.accepts();
    const old = server.socket;
    connection.connectNow();
    expect(old.closed).toBe(true);
    expect(old.onmessage).toBeNull();
    expect(server.sockets).toHaveLength(2);
  });

  it('counts a break from its beginning, not from the last try', () => {
    connection.connectNow();
    server.accepts();
    const broken = Date.now();
    server.closes(1006);
    vi.advanceTimersByTime(400);
    expect(status()).toMatchObject({ state: 'connecting', downSince: broken });
  });

  it('suspects something in between when handshakes fail while plain HTTP works', async () => {
    connection.connectNow();
    for (let tries = 0; tries < 3; tries += 1) {
      server.closes(1006);
      await vi.advanceTimersByTimeAsync(2000);
    }
    expect(status()).toMatchObject({ cause: 'blocked' });
  });

  it('suspects nothing when plain HTTP does not work either', async () => {
    server.reachable = false;
    connection.connectNow();
    for (let tries = 0; tries < 5; tries += 1) {
      server.closes(1006);
      await vi.advanceTimersByTimeAsync(7000);
    }
    expect(statuses.some((each) => 'cause' in each && each.cause === 'blocked')).toBe(false);
  });

  it('drops its socket when the network says that it is gone', () => {
    connection.connectNow();
    server.accepts();
    connection.networkLost();
    expect(server.socket.closed).toBe(true);
    expect(status().state).toBe('waiting');
  });

  it('sends nothing while it is not open, and says so', () => {
    connection.connectNow();
    expect(connection.send({ type: 'reply.stop', to: 'a' })).toBe(false);
    server.accepts();
    expect(connection.send({ type: 'reply.stop', to: 'a' })).toBe(true);
  });

  describe('while the server may be out of reach', () => {
    const alive = () => server.socket.says({ type: 'alive' });
    const expectGivenUpAfter = (milliseconds: number) => {
      vi.advanceTimersByTime(milliseconds - 1);
      expect(server.sockets).toHaveLength(1);
      vi.advanceTimersByTime(1);
      expect(server.sockets).toHaveLength(2);
    };
    beforeEach(() => {
      connection.connectNow();
      server.accepts();
    });

    it('gives a socket up after 30 seconds of silence, and goes on from its cursor', () => {
      alive();
      expectGivenUpAfter(30_000);
      expect(server.sockets[0]?.closed).toBe(true);
      expect(server.socket.after).toBe('0-0');
    });

    it('gives a socket up that fell silent before the first sign of life', () => {
      busy = true;
      server.happens({ type: 'reply.started', id: 'r', to: 'a' });
      expectGivenUpAfter(16_000);
    });

    it('gives a socket up on which nothing ever came', () => {
      expectGivenUpAfter(30_000);
    });

    it('gives it up after 16 seconds while a reply is under way', () => {
      alive();
      vi.advanceTimersByTime(10_000);
      busy = true;
      server.happens({ type: 'reply.started', id: 'r', to: 'a' });
      expectGivenUpAfter(16_000);
    });

    it('keeps it for as long as anything comes', () => {
      for (let round = 0; round < 20; round += 1) {
        alive();
        vi.advanceTimersByTime(15_000);
        server.happens({ type: 'reply.delta', id: 'r', text: 'x' });
        vi.advanceTimersByTime(15_000);
      }
      expect(server.sockets).toHaveLength(1);
    });

    it('asks nothing of the old socket when it has a new one', () => {
      alive();
      vi.advanceTimersByTime(20_000);
      connection.connectNow();
      server.accepts();
      for (let round = 0; round < 10; round += 1) {
        vi.advanceTimersByTime(15_000);
        alive();
      }
      expect(server.sockets).toHaveLength(2);
    });
  });

  it('stays away once stopped', () => {
    connection.connectNow();
    server.accepts();
    connection.stop();
    vi.advanceTimersByTime(60_000);
    expect(server.sockets).toHaveLength(1);
    expect(status()).toEqual({ state: 'idle' });
  });
});
