// Home, and the addresses that lead nowhere.
import { screen, within } from '@testing-library/react';
import { describe, expect, it, vi } from 'vitest';
import { remember } from '../src/browser/recents';
import { browserStorage } from '../src/browser/storage';
import { openPage } from './page';

const name = () => screen.getByRole('textbox', { name: 'Enter your name to start chat' });
const start = () => screen.getByRole('button', { name: 'Start chat' });

function answers(response: () => Response) {
  const fetch = vi.fn(() => Promise.resolve(response()));
  vi.stubGlobal('fetch', fetch);
  return fetch;
}

describe('home', () => {
  it('says what this is and warns of an AI’s words', () => {
    openPage('/');
    expect(screen.getByRole('heading', { level: 1, name: 'Parley' })).toBeTruthy();
    expect(screen.getByText(/built with React, FastAPI, Dramatiq and Redis/)).toBeTruthy();
    expect(screen.getByText(/hard to predict and may offend/)).toBeTruthy();
  });

  it('starts a chat with the name, escaped', async () => {
    const fetch = answers(() => Response.json({ token: 'abc-_1', name: 'A&B', session_start: 'x', messages: [] }));
    const { user } = openPage('/');
    await user.type(name(), ' A&B{Enter}');
    expect(fetch).toHaveBeenCalledWith('/token?name=A%26B', { method: 'POST' });
    expect(location.pathname).toBe('/chat/abc-_1');
  });

  it('knows the name from the last conversation and has the focus in its field', () => {
    remember(browserStorage, { token: 'one', name: 'Bea', about: 'On engines', at: '2026-11-22T20:00:00Z' });
    openPage('/');
    expect(name()).toHaveProperty('value', 'Bea');
    expect(document.activeElement).toBe(name());
  });

  it('says in words when to come back after too many new chats', async () => {
    answers(() => Response.json({ detail: 'Too many.' }, { status: 429, headers: { 'Retry-After': '3575' } }));
    const { user } = openPage('/');
    await user.type(name(), 'x{Enter}');
    expect(await screen.findByText('Too many new chats from here. Try again in about an hour.')).toBeTruthy();
  });

  it('asks for a missing name and goes to the field', async () => {
    const { user } = openPage('/');
    await user.type(name(), '  ');
    await user.click(start());
    expect(screen.getByRole('alert').textContent).toBe('Please enter a name first.');
    expect(document.activeElement).toBe(name());
  });

  it('shows the server’s own sentence when it refuses', async () => {
    answers(() => Response.json({ detail: 'That name is too long.' }, { status: 400 }));
    const { user } = openPage('/');
    await user.type(name(), 'x{Enter}');
    expect(await screen.findByText('That name is too long.')).toBeTruthy();
  });

  it.each([
    ['no server', () => Promise.reject(new TypeError('fetch failed')), /cannot be reached/],
    ['a proxy’s page', () => Promise.resolve(new Response('<html>', { status: 502 })), /could not start a chat/],
  ])('says a sentence for %s', async (_, fetch, sentence) => {
    vi.stubGlobal('fetch', fetch);
    const { user } = openPage('/');
    await user.type(name(), 'x{Enter}');
    expect(await screen.findByText(sentence)).toBeTruthy();
  });
});

describe('recent conversations', () => {
  const two = () => {
    remember(browserStorage, { token: 'one', name: 'Ada', about: 'On engines', at: '2026-11-22T20:00:00Z' });
    remember(browserStorage, { token: 'two', name: 'Ada', about: 'On poetry', at: '2026-11-22T20:00:00Z' });
    return openPage('/');
  };
  const remove = (about: string) => screen.getByRole('button', { name: `Remove “${about}”` });

  it('are listed, newest first', () => {
    two();
    const links = within(screen.getByRole('region', { name: 'Recent conversations' })).getAllByRole('link');
    expect(links.map((link) => link.getAttribute('href'))).toEqual(['/chat/two', '/chat/one']);
  });

  it('can be taken off the list alone', async () => {
    const fetch = answers(() => new Response(null, { status: 204 }));
    const { user } = two();
    await user.click(remove('On poetry'));
    await user.click(screen.getByRole('button', { name: 'Remove from this list' }));
    expect(screen.queryByText('On poetry')).toBeNull();
    expect(fetch).not.toHaveBeenCalled();
  });

  it('can be deleted for everyone', async () => {
    const fetch = answers(() => new Response(null, { status: 204 }));
    const { user } = two();
    await user.click(remove('On engines'));
    await user.click(screen.getByRole('button', { name: 'Delete for everyone' }));
    expect(fetch).toHaveBeenCalledWith('/token?token=one', { method: 'DELETE' });
    expect(screen.queryByText('On engines')).toBeNull();
  });

  it('leave nothing in the browser once deleted, and nothing is taken from the others', async () => {
    answers(() => new Response(null, { status: 204 }));
    for (const token of ['one', 'two']) {
      browserStorage.write(`parley:draft:${token}`, 'Half a thought');
      browserStorage.write(`parley:outbox:${token}:id`, { id: 'id', text: 'Not sent yet', at: '' });
    }
    const { user } = two();
    await user.click(remove('On engines'));
    await user.click(screen.getByRole('button', { name: 'Delete for everyone' }));
    expect(screen.queryByText('On engines')).toBeNull();
    expect(Object.keys(localStorage).filter((key) => key.includes('one'))).toEqual([]);
    expect(Object.keys(localStorage).filter((key) => key.includes('two'))).toHaveLength(2);
  });

  it('can only be deleted by a second button: the first one to have the focus changes nothing', async () => {
    const fetch = answers(() => new Response(null, { status: 204 }));
    const { user } = two();
    await user.click(remove('On engines'));
    expect(document.activeElement?.textContent).toBe('Cancel');
    await user.keyboard('{Enter}');
    expect(screen.getByText('On engines')).toBeTruthy();
    expect(document.activeElement).toBe(remove('On engines'));
    expect(fetch).not.toHaveBeenCalled();
  });

  it('in which nothing was said are listed once', () => {
    for (const token of ['a', 'b', 'c']) remember(browserStorage, { token, name: 'Ada', about: '', at: '2026-11-22T20:00:00Z' });
    two();
    expect(screen.queryAllByText('Nothing said yet')).toHaveLength(0);
    remember(browserStorage, { token: 'd', name: 'Ada', about: '', at: '2026-11-22T20:00:00Z' });
    openPage('/');
    expect(screen.getAllByText('Nothing said yet')).toHaveLength(1);
  });

  it('stay listed when deleting did not work, with the reason', async () => {
    answers(() => new Response(null, { status: 503 }));
    const { user } = two();
    await user.click(remove('On engines'));
    await user.click(screen.getByRole('button', { name: 'Delete for everyone' }));
    expect(await screen.findByText(/could not delete/)).toBeTruthy();
    expect(screen.getByText('On engines')).toBeTruthy();
  });
});

describe('an address that leads nowhere', () => {
  it.each(['/nowhere', '/chat', '/chat/', '/chat/a/b', '/chat/a%20b'])('%s says so and leads home', async (path) => {
    const { user } = openPage(path);
    expect(screen.getByRole('heading', { name: 'There is no page at this address.' })).toBeTruthy();
    await user.click(screen.getByRole('link', { name: 'Start a conversation' }));
    expect(location.pathname).toBe('/');
  });
});
