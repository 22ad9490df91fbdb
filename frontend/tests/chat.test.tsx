// The chat page as a person uses it.
import { act, fireEvent, screen, within } from '@testing-library/react';
import { describe, expect, it, vi } from 'vitest';
import { forget } from '../src/browser/recents';
import { browserStorage } from '../src/browser/storage';
import type { BotMessage } from '../src/protocol/frames';
import { human } from './fakeServer';
import { openChat, openPage, type OpenPage } from './page';

const field = () => screen.getByRole('textbox', { name: 'Send a Message' });
const send = () => screen.getByRole('button', { name: 'Send' });
const log = () => screen.getByRole('log', { name: 'Conversation' });
const announced = () => screen.getByRole('status', { name: 'Announcements' });

const answer = (to: string, text: string, finish_reason: BotMessage['finish_reason'] = 'stop'): BotMessage => ({
  id: `r-${to}`, to, text, finish_reason, role: 'bot', timestamp: '2026-11-22T20:00:01Z',
});

const replies = ({ server, does }: OpenPage, to: string, text: string, finish: BotMessage['finish_reason'] = 'stop') =>
  does(() => {
    server.happens({ type: 'reply.started', id: `r-${to}`, to });
    server.happens({ type: 'reply.finished', message: answer(to, text, finish) });
  });

/** Sends by the page and returns the message's id. */
async function says({ server, user, does }: OpenPage, text: string): Promise<string> {
  await user.type(field(), `${text}{Enter}`);
  await does(() => undefined);
  return server.messages.at(-1)?.id ?? '';
}

describe('the chat page', () => {
  it('welcomes the person by name and shows that it is connected', async () => {
    await openChat();
    expect(screen.getByRole('heading', { level: 1, name: 'Welcome Ada' })).toBeTruthy();
    expect(screen.getByRole('img', { name: 'Connected' })).toBeTruthy();
    expect(screen.getByText(/hard to predict and may offend/)).toBeTruthy();
    expect(screen.getByText(/Began/)).toBeTruthy();
  });

  it('says when a stand-in answers', async () => {
    const page = openPage('/chat/t');
    await page.does(() => {
      page.server.socket.onopen?.();
      page.server.socket.says({ ...page.server.snapshot(), model: { name: 'x', stand_in: true } });
    });
    expect(screen.getByText('stand-in model')).toBeTruthy();
  });

  it('sends with Enter, empties the field and keeps it focused', async () => {
    const page = await openChat();
    await says(page, 'Hello');
    expect(page.server.messages).toMatchObject([{ text: 'Hello' }]);
    expect(field()).toHaveProperty('value', '');
    expect(document.activeElement).toBe(field());
  });

  it('sends with the button too', async () => {
    const page = await openChat();
    await page.user.type(field(), 'Hello');
    await page.user.click(send());
    expect(page.server.messages).toMatchObject([{ text: 'Hello' }]);
  });

  it('breaks the line with Shift+Enter', async () => {
    const page = await openChat();
    await page.user.type(field(), 'One{Shift>}{Enter}{/Shift}two');
    expect(field()).toHaveProperty('value', 'One\ntwo');
    expect(page.server.messages).toEqual([]);
  });

  it.each([
    ['while an input method composes', { isComposing: true }],
    ['for a key that only its code 229 tells to be composing', { keyCode: 229 }],
  ])('does not send %s', async (_, key) => {
    const page = await openChat();
    await page.user.type(field(), 'に');
    fireEvent.keyDown(field(), { key: 'Enter', ...key });
    expect(page.server.messages).toEqual([]);
  });

  it('breaks the line with Enter on a touch keyboard', async () => {
    vi.spyOn(window, 'matchMedia').mockImplementation(
      (media) => Object.assign(new EventTarget(), { media, matches: media.includes('coarse') }) as MediaQueryList,
    );
    const page = await openChat();
    await page.user.type(field(), 'One{Enter}two');
    expect(field()).toHaveProperty('value', 'One\ntwo');
    expect(page.server.messages).toEqual([]);
  });

  it('does not send nothing', async () => {
    const page = await openChat();
    await page.user.type(field(), '   {Enter}');
    expect(page.server.socket.sent).toEqual([]);
  });

  it('says how much a message is too long, and lets the person go on typing', async () => {
    const page = await openChat();
    fireEvent.change(field(), { target: { value: 'x'.repeat(4001) } });
    expect(screen.getByText(/1 character over the limit of 4,000/)).toBeTruthy();
    await page.user.click(send());
    expect(page.server.socket.sent).toEqual([]);
    expect(field()).toHaveProperty('disabled', false);
  });

  it('counts a limit in characters, not in halves of emoji', async () => {
    const page = await openChat();
    fireEvent.change(field(), { target: { value: '🙂'.repeat(4000) } });
    await page.user.click(send());
    expect(page.server.messages).toHaveLength(1);
  });

  it('keeps the draft over a reload', async () => {
    const page = await openChat();
    await page.user.type(field(), 'Half a thou');
    document.body.innerHTML = '';
    openPage('/chat/t');
    expect(field()).toHaveProperty('value', 'Half a thou');
  });

  it('keeps the draft of each tab over a reload', async () => {
    const { user } = await openChat();
    await user.type(field(), 'Mine');
    browserStorage.write('parley:draft:t', 'From another tab');
    document.body.innerHTML = '';
    openPage('/chat/t');
    expect(field()).toHaveProperty('value', 'Mine');
  });

  it('begins in a new tab with the draft that was written last', async () => {
    browserStorage.write('parley:draft:t', 'From another tab');
    await openChat();
    expect(field()).toHaveProperty('value', 'From another tab');
  });

  it('shows a message of the person’s as plain text', async () => {
    const page = await openChat();
    await page.does(() => page.server.happens({ type: 'message.accepted', message: human('a', '**not** <b>bold</b>') }));
    expect(within(screen.getByRole('article', { name: 'You' })).getByText('**not** <b>bold</b>')).toBeTruthy();
  });

  it('shows a reply while it grows, and can stop it', async () => {
    const page = await openChat();
    const to = await says(page, 'Hello');
    await page.does(() => {
      page.server.happens({ type: 'reply.started', id: 'r', to });
      page.server.happens({ type: 'reply.delta', id: 'r', text: 'Good *mor' });
    });
    const reply = screen.getByRole('article', { name: 'Reply' });
    expect(reply.textContent).toContain('Good *mor');
    expect(reply.getAttribute('aria-busy')).toBe('true');
    await page.user.click(screen.getByRole('button', { name: 'Stop' }));
    expect(page.server.socket.sent.at(-1)).toEqual({ type: 'reply.stop', to });
    expect(screen.getByText('Stopping…')).toBeTruthy();
    await page.does(() => page.server.happens({ type: 'reply.finished', message: { ...answer(to, 'Good *mor', 'stopped'), id: 'r' } }));
    expect(within(log()).getByText('Stopped.')).toBeTruthy();
    expect(screen.queryByRole('button', { name: 'Stop' })).toBeNull();
    expect(screen.getByRole('button', { name: 'Retry' })).toBeTruthy();
  });

  it('lets the person type and send while a reply is written', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    await page.does(() => page.server.happens({ type: 'reply.started', id: 'r', to }));
    await says(page, 'Two');
    expect(page.server.messages).toMatchObject([{ text: 'One' }, { text: 'Two' }]);
  });

  it('offers another answer to the last message only', async () => {
    const page = await openChat();
    await replies(page, await says(page, 'One'), 'First');
    await replies(page, await says(page, 'Two'), 'Second');
    expect(screen.getAllByRole('button', { name: 'Copy reply' })).toHaveLength(2);
    await page.user.click(screen.getByRole('button', { name: 'Regenerate' }));
    expect(page.server.socket.sent.at(-1)).toMatchObject({ type: 'reply.retry', to: page.server.messages.at(-2)?.id });
    expect(screen.queryByRole('button', { name: 'Regenerate' })).toBeNull();
    expect(within(log()).getByText('Second')).toBeTruthy();
  });

  it('shows why a reply failed, always with Retry, which is quiet where it is unlikely to help', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    const failed = { id: 'r', to, code: 'model_unavailable', detail: 'The model could not be reached.' };
    await page.does(() => page.server.happens({ type: 'reply.failed', ...failed, retryable: true }));
    expect(within(log()).getByText('The model could not be reached.')).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Retry' }).className).toBe('compact');
    await page.user.click(screen.getByRole('button', { name: 'Retry' }));
    expect(page.server.socket.sent.at(-1)).toMatchObject({ type: 'reply.retry', to });
    await page.does(() => page.server.happens({ type: 'reply.failed', ...failed, retryable: false }));
    expect(screen.getByRole('button', { name: 'Retry' }).className).toBe('quiet');
  });

  it('leaves a good reply as it was when another one fails', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    await replies(page, to, 'A good reply');
    await page.does(() => page.server.happens({
      type: 'reply.failed', id: 'r2', to, code: 'x', detail: 'No.', retryable: false,
    }));
    const reply = screen.getByRole('article', { name: 'Reply' });
    expect(reply.dataset.appearance).toBe('whole');
    expect(within(reply).getByText('A good reply')).toBeTruthy();
    expect(within(reply).getByText('The new reply failed. No.')).toBeTruthy();
    expect(within(reply).getByRole('button', { name: 'Retry' })).toBeTruthy();
  });

  it('shows an earlier reply with its own ending when another one was stopped before its first word', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    await replies(page, to, 'A whole reply');
    await page.user.click(screen.getByRole('button', { name: 'Regenerate' }));
    await page.user.click(screen.getByRole('button', { name: 'Stop' }));
    await page.does(() => page.server.happens({ type: 'reply.finished', message: answer(to, 'A whole reply') }));
    expect(within(log()).queryByText('Stopped.')).toBeNull();
    expect(screen.getByRole('button', { name: 'Regenerate' })).toBeTruthy();
  });

  it('says that a reply is still written after three seconds without a word, and after ten that it takes long', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    vi.useFakeTimers({ shouldAdvanceTime: true });
    await page.does(() => {
      page.server.happens({ type: 'reply.started', id: 'r', to });
      page.server.happens({ type: 'reply.delta', id: 'r', text: 'Well' });
    });
    expect(within(log()).queryByText('Still writing…')).toBeNull();
    await act(() => vi.advanceTimersByTimeAsync(3_000));
    expect(within(log()).getByText('Still writing…')).toBeTruthy();
    await act(() => vi.advanceTimersByTimeAsync(7_000));
    expect(within(log()).getByText('This takes longer than usual.')).toBeTruthy();
    await page.does(() => page.server.happens({ type: 'reply.delta', id: 'r', text: ' then' }));
    expect(within(log()).queryByText(/longer than usual|Still writing/)).toBeNull();
  });

  it.each([
    ['the connection is lost', (page: OpenPage) => page.server.closes(1006)],
    ['nobody writes', (page: OpenPage) => page.server.socket.says({ type: 'service', state: 'no_worker' })],
  ])('does not look as if a reply grows while %s', async (_, breaks) => {
    const page = await openChat();
    const to = await says(page, 'One');
    await page.does(() => {
      page.server.happens({ type: 'reply.started', id: 'r', to });
      page.server.happens({ type: 'reply.delta', id: 'r', text: 'Half' });
    });
    const reply = screen.getByRole('article', { name: 'Reply' });
    expect(reply.dataset.appearance).toBe('growing');
    await page.does(() => breaks(page));
    expect(reply.dataset.appearance).toBe('paused');
  });

  it('gives the focus back to the field after Stop, Regenerate and Retry', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    await page.does(() => page.server.happens({ type: 'reply.started', id: `r-${to}`, to }));
    await page.user.click(screen.getByRole('button', { name: 'Stop' }));
    expect(document.activeElement).toBe(field());
    await replies(page, to, 'Half', 'stopped');
    await page.user.click(screen.getByRole('button', { name: 'Retry' }));
    expect(document.activeElement).toBe(field());
    await replies(page, to, 'Whole');
    await page.user.click(screen.getByRole('button', { name: 'Regenerate' }));
    expect(document.activeElement).toBe(field());
  });

  it('stops a reply with Escape', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    await page.does(() => page.server.happens({ type: 'reply.started', id: 'r', to }));
    await page.user.keyboard('{Escape}');
    expect(page.server.socket.sent.at(-1)).toEqual({ type: 'reply.stop', to });
  });

  it('tells its keys to a screen reader', async () => {
    await openChat();
    const described = document.getElementById(field().getAttribute('aria-describedby') ?? '');
    expect(described?.textContent).toMatch(/Escape stops.*Arrow up edits/);
  });

  it('edits the last message: back into the field, and in its place when sent', async () => {
    const page = await openChat();
    const to = await says(page, 'Frist');
    await replies(page, to, 'What?');
    await page.user.type(field(), 'A draft');
    await page.user.click(screen.getByRole('button', { name: 'Edit' }));
    expect(field()).toHaveProperty('value', 'Frist');
    await page.user.clear(field());
    await page.user.type(field(), 'First{Enter}');
    await page.does(() => undefined);
    expect(page.server.messages.map(({ text }) => text)).toEqual(['First']);
    expect(within(log()).queryByText('Frist')).toBeNull();
    expect(within(log()).queryByText('What?')).toBeNull();
    expect(field()).toHaveProperty('value', 'A draft');
  });

  it('edits with the arrow up in an empty field, and leaves it with Escape', async () => {
    const page = await openChat();
    await replies(page, await says(page, 'Question'), 'Answer');
    await page.user.type(field(), '{ArrowUp}');
    expect(field()).toHaveProperty('value', 'Question');
    expect(screen.getByText(/^Editing/)).toBeTruthy();
    await page.user.keyboard('{Escape}');
    expect(field()).toHaveProperty('value', '');
    expect(screen.queryByText(/^Editing/)).toBeNull();
  });

  it('offers to continue a reply that was cut off', async () => {
    const page = await openChat();
    const to = await says(page, 'Go on');
    await replies(page, to, 'And so', 'length');
    await page.user.click(screen.getByRole('button', { name: 'Continue' }));
    expect(page.server.socket.sent.at(-1)).toMatchObject({ type: 'reply.continue', to });
    expect(within(log()).getByText('And so')).toBeTruthy();
    await page.does(() => {
      page.server.happens({ type: 'reply.started', id: 'c', to });
      page.server.happens({ type: 'reply.delta', id: 'c', text: 'And so' });
      page.server.happens({ type: 'reply.delta', id: 'c', text: ' it went.' });
    });
    expect(within(log()).getByText('And so it went.')).toBeTruthy();
  });

  it('shows earlier messages when asked', async () => {
    const page = openPage('/chat/t');
    page.server.earlier = [human('e1'), human('e2')];
    page.server.messages = [human('a')];
    await page.does(() => page.server.accepts());
    await page.user.click(screen.getByRole('button', { name: 'Show earlier messages' }));
    await page.does(() => undefined);
    expect(screen.getAllByRole('article', { name: 'You' }).map((message) => message.querySelector('p')?.textContent))
      .toEqual(['Words of e1', 'Words of e2', 'Words of a']);
    expect(screen.queryByRole('button', { name: /earlier messages/ })).toBeNull();
  });

  it('leads home by its name', async () => {
    const page = await openChat();
    await page.user.click(screen.getByRole('link', { name: 'Parley: all conversations' }));
    expect(location.pathname).toBe('/');
    expect(screen.getByRole('button', { name: 'Start chat' })).toBeTruthy();
  });

  it('offers openers, which go into the field', async () => {
    const page = await openChat();
    const opener = screen.getAllByRole('listitem')[0];
    if (!opener) throw new Error('no opener');
    await page.user.click(within(opener).getByRole('button'));
    expect(field()).toHaveProperty('value', opener.textContent);
    expect(document.activeElement).toBe(field());
    expect(page.server.messages).toEqual([]);
  });

  it('does not start another conversation from an empty one', async () => {
    const fetch = vi.fn();
    vi.stubGlobal('fetch', fetch);
    const page = await openChat();
    await page.user.click(screen.getByRole('button', { name: 'Menu' }));
    await page.user.click(screen.getByRole('button', { name: 'New conversation' }));
    expect(fetch).not.toHaveBeenCalled();
    expect(document.activeElement).toBe(field());
  });

  it('says what did not work, and lets the person dismiss it', async () => {
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError('no')));
    const page = await openChat();
    await says(page, 'One');
    await page.user.click(screen.getByRole('button', { name: 'Menu' }));
    await page.user.click(screen.getByRole('button', { name: 'New conversation' }));
    expect(await screen.findByText(/server cannot be reached/)).toBeTruthy();
    await page.user.click(screen.getByRole('button', { name: 'Dismiss' }));
    expect(screen.queryByText(/server cannot be reached/)).toBeNull();
  });

  it('asks before it deletes, with the focus on the button that changes nothing', async () => {
    const fetch = vi.fn();
    vi.stubGlobal('fetch', fetch);
    const page = await openChat();
    await page.user.click(screen.getByRole('button', { name: 'Menu' }));
    await page.user.click(screen.getByRole('button', { name: 'Delete conversation' }));
    expect(document.activeElement?.textContent).toBe('Cancel');
    await page.user.keyboard('{Enter}');
    expect(document.activeElement?.textContent).toBe('Delete conversation');
    await page.user.keyboard('{Enter}{Enter}');
    expect(fetch).not.toHaveBeenCalled();
  });

  it('does not keep saying that the link was copied', async () => {
    const page = await openChat();
    await page.user.click(screen.getByRole('button', { name: 'Menu' }));
    await page.user.click(screen.getByRole('button', { name: 'Copy link' }));
    expect(await screen.findByText('Copied.')).toBeTruthy();
    await vi.waitFor(() => expect(screen.queryByText('Copied.')).toBeNull(), 30_000);
  });

  it('says in the title that a reply failed while the tab was in the background', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
    await page.does(() => page.server.happens({ type: 'reply.failed', id: 'r', to, code: 'x', detail: 'No.', retryable: true }));
    expect(document.title).toBe('● Reply failed – Parley');
  });

  it('keeps the words that were shown before a reply failed', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    await page.does(() => {
      page.server.happens({ type: 'reply.started', id: 'r', to });
      page.server.happens({ type: 'reply.delta', id: 'r', text: 'Half an *ans*' });
    });
    const words = within(log()).getByText('ans');
    await page.does(() => page.server.happens({
      type: 'reply.failed', id: 'r', to, code: 'cut', detail: 'The model broke off.', retryable: true, text: 'Half an *ans*',
    }));
    expect(within(log()).getByText('ans')).toBe(words);
    expect(within(log()).getByText('The model broke off.')).toBeTruthy();
  });

  it.each([
    ['model_loading', /model is loading/],
    ['rate_limited', /model is busy/],
    ['retrying', /No answer from the model/],
  ] as const)('explains a wait: %s', async (reason, sentence) => {
    vi.useFakeTimers({ toFake: ['Date'] }); // it counts down
    const page = await openChat();
    const to = await says(page, 'One');
    await page.does(() => {
      page.server.happens({ type: 'reply.started', id: 'r', to });
      page.server.happens({ type: 'reply.waiting', id: 'r', reason, retry_in: 9 });
    });
    expect(within(log()).getByText(sentence).closest('p')?.textContent).toMatch(/9 s/);
    await page.does(() => page.server.happens({ type: 'reply.delta', id: 'r', text: 'Now' }));
    expect(within(log()).queryByText(sentence)).toBeNull();
  });

  it.each([
    ['no_worker', /Nobody can answer just now/],
    ['storage_away', /cannot reach its storage/],
  ] as const)('explains what is amiss with the service: %s', async (state, sentence) => {
    const page = await openChat();
    await says(page, 'One');
    await page.does(() => page.server.socket.says({ type: 'service', state }));
    expect(within(log()).getByText(sentence)).toBeTruthy();
    await page.does(() => page.server.socket.says({ type: 'service', state: 'ok' }));
    expect(within(log()).queryByText(sentence)).toBeNull();
  });

  it('tells the place in the queue while one waits, and no longer', async () => {
    const page = await openChat();
    await says(page, 'One');
    await says(page, 'Two');
    await page.does(() => page.server.socket.says({ type: 'queue', ahead: 3 }));
    expect(within(log()).getAllByText(/3 ahead of you\./)).toHaveLength(1);
    await page.does(() => page.server.socket.says({ type: 'queue', ahead: 0 }));
    expect(within(log()).getByText(/You are next\./)).toBeTruthy();
    await page.does(() => page.server.socket.says({ type: 'queue', ahead: null }));
    expect(within(log()).queryByText(/You are next\./)).toBeNull();
  });

  it('keeps a refused message and gives it back for editing', async () => {
    const page = await openChat();
    page.server.onSend = 'too_long';
    await says(page, 'Too much');
    expect(within(log()).getByText(/Not sent. It is too_long./)).toBeTruthy();
    await page.user.click(screen.getByRole('button', { name: 'Edit' }));
    expect(field()).toHaveProperty('value', 'Too much');
    expect(within(log()).queryByText('Too much')).toBeNull();
  });

  it('keeps a message written without a connection, and says so', async () => {
    const page = await openChat();
    await page.does(() => page.server.closes(1006));
    await says(page, 'Still here');
    expect(within(log()).getByText(/sent when you are back online/)).toBeTruthy();
  });

  it('counts down when messages came too fast', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const page = await openChat();
    page.server.onSend = 'rate_limit';
    await says(page, 'Fast');
    expect(within(log()).getByText(/Too many messages in a short time/).closest('.delivery-note')?.textContent).toMatch(/5 s/);
  });

  it('is quiet about a lost connection at first, then says so', async () => {
    const page = await openChat();
    page.server.reachable = false;
    await page.does(() => page.server.closes(1006));
    const place = screen.getByRole('status', { name: 'Connection' });
    expect(place.textContent).toBe('');
    await page.does(() => page.server.closes(1006));
    expect(await within(place).findByText(/Connection lost/)).toBeTruthy();
    expect(screen.getByRole('img', { name: 'Not connected' })).toBeTruthy();
  });

  it.each([
    [4403, /does not accept connections from this address/],
    [4429, /Too many tabs are open/],
  ])('says why it was refused: %i', async (code, sentence) => {
    const page = await openChat();
    await page.does(() => page.server.closes(code));
    expect(screen.getByText(sentence)).toBeTruthy();
    await page.user.click(screen.getByRole('button', { name: 'Connect now' }));
    expect(page.server.sockets).toHaveLength(2);
  });

  it('offers a new chat when the conversation is over, with the draft kept', async () => {
    const page = await openChat();
    await page.user.type(field(), 'Unsent thought');
    await page.does(() => page.server.closes(4401));
    expect(screen.getByRole('heading', { name: 'This conversation is over.' })).toBeTruthy();
    expect(screen.getByText('Unsent thought')).toBeTruthy();
    expect(screen.getByRole('textbox')).toHaveProperty('value', 'Ada');
    vi.stubGlobal('fetch', () => Promise.resolve(Response.json({ token: 'new', name: 'Ada', session_start: 'x', messages: [] })));
    await page.user.click(screen.getByRole('button', { name: 'Start a new chat' }));
    expect(location.pathname).toBe('/chat/new');
    expect(field()).toHaveProperty('value', 'Unsent thought');
  });

  it('is over when someone deleted it', async () => {
    const page = await openChat();
    forget(browserStorage, 't'); // as a tab of the same browser does
    await page.does(() => page.server.happens({ type: 'conversation.deleted' }));
    expect(screen.getByRole('heading', { name: 'This conversation is over.' })).toBeTruthy();
    expect(screen.getByRole('textbox')).toHaveProperty('value', 'Ada');
  });

  it('tells a screen reader that a reply begins and reads it when whole, but no single words', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    expect(log().getAttribute('aria-live')).toBe('off');
    await page.does(() => page.server.happens({ type: 'reply.started', id: `r-${to}`, to }));
    expect(announced().textContent).toBe('The reply has begun.');
    await page.does(() => page.server.happens({ type: 'reply.delta', id: `r-${to}`, text: 'Word' }));
    expect(announced().textContent).toBe('The reply has begun.');
    await page.does(() => page.server.happens({ type: 'reply.finished', message: answer(to, 'Word by word') }));
    expect(announced().textContent).toBe('Reply: Word by word');
  });

  it('says nothing to a screen reader of what was there before', async () => {
    const page = openPage('/chat/t');
    page.server.messages = [human('a'), answer('a', 'Old')];
    await page.does(() => page.server.accepts());
    expect(announced().textContent).toBe('');
  });

  it('says in the title that a reply finished while the tab was in the background', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    const hidden = vi.spyOn(document, 'hidden', 'get').mockReturnValue(true);
    await replies(page, to, 'Done');
    expect(document.title).toMatch(/Reply ready/);
    hidden.mockReturnValue(false);
    document.dispatchEvent(new Event('visibilitychange'));
    expect(document.title).toBe('Ada – Parley');
  });

  it('keeps the very elements of a reply when it finishes', async () => {
    const page = await openChat();
    const to = await says(page, 'One');
    await page.does(() => {
      page.server.happens({ type: 'reply.started', id: `r-${to}`, to });
      page.server.happens({ type: 'reply.delta', id: `r-${to}`, text: 'Hello *you*' });
    });
    const element = within(log()).getByText('you');
    await page.does(() => page.server.happens({ type: 'reply.finished', message: answer(to, 'Hello *you*') }));
    expect(within(log()).getByText('you')).toBe(element);
  });
});
