// A page that the browser translates: no text is missing and nothing throws, whatever a reply contains.
import { render, screen, within } from '@testing-library/react';
import { useEffect } from 'react';
import { describe, expect, it, vi } from 'vitest';
import { ErrorBoundary } from '../src/components/ErrorBoundary';
import { Markdown } from '../src/components/markdown/Markdown';
import { human } from './fakeServer';
import { SAMPLES } from './markdownSamples';
import { openChat } from './page';
import { translate, translated } from './translator';

/** The text of the prose, without the labels of buttons, which React may update at any time. */
const proseOf = (container: Element) => container.querySelector('.prose')?.textContent;

describe('a translated reply', () => {
  it.each(Object.entries(SAMPLES))('shows every word while it grows: %s', async (_, text) => {
    const wanted = render(<Markdown text={text} />);
    const { container, rerender } = render(<Markdown text="" />);
    const stop = translate(container);
    for (let end = 1; end <= text.length; end += 1) {
      rerender(<Markdown text={text.slice(0, end)} />);
      await Promise.resolve(); // the translator's turn
    }
    expect(proseOf(container)).toBe(translated(proseOf(wanted.container) ?? ''));
    rerender(<Markdown text="" />);
    expect(proseOf(container)).toBe('');
    stop();
  });

  it('shows every sentence about a wait, and its seconds', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const { server, does } = await openChat();
    const stop = translate(document.body);
    await does(() => {
      server.happens({ type: 'message.accepted', message: human('a') });
      server.happens({ type: 'reply.started', id: 'r', to: 'a' });
      server.happens({ type: 'reply.waiting', id: 'r', reason: 'model_loading', retry_in: 9 });
    });
    const log = screen.getByRole('log');
    expect(log.textContent).toMatch(/LOADING.* 9 S/);
    await does(() => server.happens({ type: 'reply.waiting', id: 'r', reason: 'retrying', retry_in: 4 }));
    expect(log.textContent).toMatch(/AGAIN.* 4 S/);
    expect(log.textContent).not.toContain('LOADING');
    await does(() => server.happens({ type: 'reply.delta', id: 'r', text: 'Word' }));
    expect(within(log).getByText('WORD')).toBeTruthy();
    expect(log.textContent).not.toContain('AGAIN');
    stop();
  });
});

describe('a translated message that is not sent', () => {
  it.each([
    ['rate_limited', 5, /MANY MESSAGES IN A SHORT TIME. SENDING AGAIN IN \d S/],
    ['unavailable', undefined, /CANNOT SAVE MESSAGES JUST NOW/],
    ['too_long', undefined, /NOT SENT. IT IS TOO LONG/],
  ] as const)('says why, and nothing of what it said before: %s', async (code, retry_in, sentence) => {
    const { server, user, does } = await openChat();
    const field = screen.getByRole('textbox', { name: 'Send a Message' });
    const stop = translate(document.body);
    const note = () => document.querySelector('.delivery-note')?.textContent;
    server.onSend = 'ignore';
    await user.type(field, 'One{Enter}');
    await vi.waitFor(() => expect(note()).toMatch(/SENDING…/));
    const sent = server.socket.sent.find((frame) => frame.type === 'message.send');
    await does(() => server.socket.says({ type: 'error', code, detail: 'It is too long.', id: sent?.id, retry_in }));
    expect(note()).toMatch(sentence);
    expect(note()).not.toMatch(/SENDING…/);
    await does(() => server.closes(1006));
    if (code !== 'too_long') expect(note()).toMatch(/SAVED/);
    expect(screen.queryByText(/went wrong/i)).toBeNull();
    stop();
  });
});

describe('an error while the page renders', () => {
  function Broken({ breaks }: { breaks: () => boolean }) {
    if (breaks()) throw new Error('broken');
    return <p>All is well.</p>;
  }

  it('is told in a sentence, and the page is mounted again', () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    let broken = true;
    const view = render(<ErrorBoundary><p>Fine.</p></ErrorBoundary>);
    view.rerender(<ErrorBoundary><Broken breaks={() => broken} /></ErrorBoundary>);
    const heading = screen.getByRole('heading', { name: 'Something went wrong on this page.' });
    expect(document.activeElement).toBe(heading);
    expect(document.title).toMatch(/went wrong/);
    broken = false;
    screen.getByRole('button', { name: 'Show the page again' }).click();
    return screen.findByText('All is well.');
  });

  it('that does not come again needs no click', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    let broken = true;
    function BreaksOnce() {
      useEffect(() => {
        if (!broken) return;
        broken = false;
        throw new Error('broken');
      }, []);
      return <p>All is well.</p>;
    }
    render(<ErrorBoundary><BreaksOnce /></ErrorBoundary>);
    expect(await screen.findByText('All is well.')).toBeTruthy();
    expect(screen.getByText(/page was restarted/)).toBeTruthy();
  });
});
