// The page's dealings with the browser.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ago } from '../src/browser/clock';
import { copyText } from '../src/browser/copy';
import { oncePerFrame } from '../src/browser/animationFrame';
import { newId } from '../src/browser/ids';
import { readRecents, remember } from '../src/browser/recents';
import { browserStorage } from '../src/browser/storage';
import { bindLifecycle } from '../src/browser/lifecycle';
import { asJson, asMarkdown } from '../src/conversation/exports';
import { initialState } from '../src/conversation/state';
import { human } from './fakeServer';

vi.unmock('../src/browser/animationFrame');

const UUID = /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/;

describe('ids', () => {
  it('are random UUIDs', () => expect(newId()).toMatch(UUID));

  it('are so too on an insecure origin', () => {
    vi.stubGlobal('crypto', { getRandomValues: (bytes: Uint8Array) => bytes.fill(255) });
    expect(newId()).toMatch(UUID);
    vi.unstubAllGlobals();
  });
});

describe('how long ago', () => {
  const now = Date.parse('2026-11-22T20:00:00Z');
  it.each([
    ['2026-11-22T19:59:30Z', 'just now'],
    ['2026-11-22T20:00:30Z', 'just now'],
    ['2026-11-22T19:59:00Z', '1 minute ago'],
    ['2026-11-22T17:00:00Z', '3 hours ago'],
    ['2026-11-20T20:00:00Z', '2 days ago'],
  ])('%s is %s', (timestamp, words) => expect(ago(timestamp, now)).toBe(words));
});

describe('the browser’s store', () => {
  it('forgets nothing while the page lives even when it is closed', () => {
    vi.spyOn(Storage.prototype, 'setItem').mockImplementation(() => {
      throw new Error('full');
    });
    browserStorage.write('k', 1);
    expect(browserStorage.read('k')).toBe(1);
    browserStorage.remove('k');
    expect(browserStorage.read('k')).toBeNull();
  });

  it('is not trusted: what lies there may be anyone’s', () => {
    localStorage.setItem('parley:recent', '{"not":"a list"}');
    expect(readRecents(browserStorage)).toEqual([]);
    localStorage.setItem('parley:recent', 'no JSON');
    expect(readRecents(browserStorage)).toEqual([]);
  });

  it('lists a conversation once, newest first, and not for ever', () => {
    remember(browserStorage, { token: 'long', name: 'A', about: 'word '.repeat(30), at: '' });
    expect(readRecents(browserStorage)[0]?.about).toBe(`${'word '.repeat(18).trim()}…`);
    for (let at = 0; at < 40; at += 1) remember(browserStorage, { token: `t${at % 35}`, name: 'A', about: 'x', at: '' });
    const tokens = readRecents(browserStorage).map(({ token }) => token);
    expect(tokens[0]).toBe('t4');
    expect(new Set(tokens).size).toBe(30);
    expect(tokens).toHaveLength(30);
  });
});

describe('copying', () => {
  it('works on an insecure origin by selection, and gives focus back', async () => {
    vi.stubGlobal('navigator', {});
    const field = document.body.appendChild(document.createElement('input'));
    field.focus();
    let selected = '';
    // The simulated browser has no such command.
    Object.assign(document, { execCommand: () => {
      selected = (document.activeElement as HTMLTextAreaElement).value;
      return true;
    } });
    expect(await copyText('words')).toBe(true);
    expect(selected).toBe('words');
    expect(document.activeElement).toBe(field);
    vi.unstubAllGlobals();
  });
});

/** Milliseconds, for a busy machine. */
const PATIENTLY = 30_000;

describe('drawing', () => {
  it('happens once per frame however often it is asked for', async () => {
    const draw = vi.fn();
    const soon = oncePerFrame(draw);
    for (let token = 0; token < 50; token += 1) soon();
    expect(draw).not.toHaveBeenCalled();
    await vi.waitFor(() => expect(draw).toHaveBeenCalled(), PATIENTLY);
    expect(draw).toHaveBeenCalledOnce();
  });

  it('leaves the page alone after a frame that took long, and then draws what came meanwhile', () => {
    vi.useFakeTimers();
    const draw = vi.fn(() => vi.advanceTimersByTime(40));
    const soon = oncePerFrame(draw);
    soon();
    vi.advanceTimersByTime(20);
    soon();
    vi.advanceTimersByTime(110);
    expect(draw).toHaveBeenCalledOnce();
    vi.advanceTimersByTime(40);
    expect(draw).toHaveBeenCalledTimes(2);
    vi.useRealTimers();
  });

  it('goes on in the background, where there are no frames', async () => {
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
    vi.spyOn(window, 'requestAnimationFrame').mockReturnValue(0);
    const draw = vi.fn();
    oncePerFrame(draw)();
    await vi.waitFor(() => expect(draw).toHaveBeenCalledOnce(), PATIENTLY);
  });
});

describe('waking up', () => {
  const reconnectable = (isOpen: boolean, isWanted = true) => ({ isOpen, isWanted, connectNow: vi.fn(), networkLost: vi.fn() });
  let stop: () => void = vi.fn();
  const see = (hidden: boolean) => {
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(hidden);
    document.dispatchEvent(new Event('visibilitychange'));
  };
  afterEach(() => stop());

  it('after a long sleep does not believe the old socket', () => {
    vi.useFakeTimers();
    const connection = reconnectable(true);
    stop = bindLifecycle(connection);
    see(true);
    vi.advanceTimersByTime(60_000);
    see(false);
    expect(connection.connectNow).toHaveBeenCalledOnce();
  });

  it('after a glance elsewhere leaves a good socket alone', () => {
    vi.useFakeTimers();
    const connection = reconnectable(true);
    stop = bindLifecycle(connection);
    see(true);
    vi.advanceTimersByTime(2_000);
    see(false);
    expect(connection.connectNow).not.toHaveBeenCalled();
  });

  it('does not wait out a back-off when the person comes back', () => {
    const connection = reconnectable(false);
    stop = bindLifecycle(connection);
    see(false);
    expect(connection.connectNow).toHaveBeenCalledOnce();
  });

  it('connects anew when the network is back, even if the old socket looks well', () => {
    const connection = reconnectable(true);
    stop = bindLifecycle(connection);
    dispatchEvent(new Event('offline'));
    expect(connection.networkLost).toHaveBeenCalledOnce();
    dispatchEvent(new Event('online'));
    expect(connection.connectNow).toHaveBeenCalledOnce();
  });

  it('leaves a refused connection alone', () => {
    const connection = reconnectable(false, false);
    stop = bindLifecycle(connection);
    see(false);
    dispatchEvent(new Event('online'));
    expect(connection.connectNow).not.toHaveBeenCalled();
  });
});

describe('exports', () => {
  const view = {
    ...initialState.view,
    name: 'Ada',
    sessionStart: '2026-11-22T20:00:00Z',
    model: { name: 'gpt-j', stand_in: false },
    messages: [
      human('a', 'Question?'),
      { id: 'r', to: 'a', role: 'bot' as const, text: 'Ans', finish_reason: 'stopped' as const, timestamp: '2026-11-22T20:00:01Z' },
    ],
  };

  it('as Markdown say who said what, and where a reply was stopped', () => {
    const text = asMarkdown(view);
    expect(text).toContain('# Ada and gpt-j');
    expect(text).toContain('## Ada, 2026-11-22T20:00:00Z\n\nQuestion?');
    expect(text).toContain('Ans\n\n*(stopped)*');
  });

  it('as JSON hold every message, but not the token', () => {
    expect(JSON.parse(asJson(view))).toMatchObject({ name: 'Ada', messages: view.messages });
    expect(asJson(view)).not.toContain('token');
  });
});
