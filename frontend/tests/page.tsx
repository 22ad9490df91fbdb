// The whole page at an address, with a fake server behind its socket and its calls.
import { act, render } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { vi } from 'vitest';
import { App } from '../src/App';
import { FakeServer } from './fakeServer';

export interface OpenPage {
  server: FakeServer;
  user: ReturnType<typeof userEvent.setup>;
  /** Something the server does, and the page's answer to it, drawn. */
  does: (act: () => void) => Promise<void>;
}

export function openPage(path: string): OpenPage {
  const server = new FakeServer();
  vi.stubGlobal('WebSocket', function open(address: URL) {
    return server.makeSocket(address.searchParams.get('after'));
  });
  history.replaceState(null, '', path);
  render(<App />);
  return { server, user: userEvent.setup(), does };
}

/** Longer than a frame: what the page paces is drawn by then. */
const DRAWN_MS = 40;

const does = (something: () => void): Promise<void> =>
  act(async () => {
    something();
    await new Promise((resolve) => setTimeout(resolve, DRAWN_MS));
  });

export async function openChat(): Promise<OpenPage> {
  const page = openPage('/chat/t');
  await page.does(() => page.server.accepts());
  return page;
}
