// What every test file needs: a clean page and a clean store before each test.
import { cleanup, configure } from '@testing-library/react';
import { afterEach, beforeEach, vi } from 'vitest';

// The simulated browser lays nothing out, so it has none of these.
const nothing = () => undefined;
class NoLayout {
  observe = nothing;
  unobserve = nothing;
  disconnect = nothing;
}
globalThis.ResizeObserver = NoLayout;
globalThis.IntersectionObserver = NoLayout as unknown as typeof IntersectionObserver;
window.scrollTo = nothing;
window.matchMedia = (media) => Object.assign(new EventTarget(), { media, matches: false }) as MediaQueryList;

// What is waited for may take its time on a busy machine.
configure({ asyncUtilTimeout: 30_000 });

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
});

afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

// On a busy machine the page would rest for long after each frame, and no test of a component could say when it has
// drawn. The rests have their own test.
vi.mock('../src/browser/animationFrame', () => ({
  oncePerFrame: (draw: () => void) => {
    let asked = false;
    const run = () => {
      asked = false;
      draw();
    };
    return () => {
      if (!asked) requestAnimationFrame(run);
      asked = true;
    };
  },
}));
