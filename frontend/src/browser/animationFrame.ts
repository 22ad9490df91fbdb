// When to render: at most once per animation frame, less often if a frame is expensive, and by a timer in the
// background, where the browser gives no frames.

/** After a frame the page is left alone for this many times the frame's own duration. */
const IDLE_FACTOR = 3;

/** Upper bound, because a frame during which the machine slept seems very long. */
const MAX_IDLE_MS = 250;

/** Returns a function that runs `callback` soon, and once however often it is called before that. */
export function oncePerFrame(callback: () => void): () => void {
  let pending: (() => void) | null = null;
  let idling = false;
  let requested = false;
  const run = () => {
    pending?.();
    pending = null;
    requested = false;
    const began = performance.now();
    callback();
    if (document.hidden) return;
    idling = true;
    // The next task starts when the frame is laid out and painted.
    setTimeout(() => setTimeout(idleOver, Math.min(MAX_IDLE_MS, IDLE_FACTOR * (performance.now() - began))));
  };
  const idleOver = () => {
    idling = false;
    if (requested) schedule();
  };
  const schedule = () => {
    if (document.hidden) {
      const timer = setTimeout(run, 0);
      pending = () => clearTimeout(timer);
      return;
    }
    const frame = requestAnimationFrame(run);
    // A tab that goes to the background gets no frame, so a slow timer runs the callback there.
    const timer = setTimeout(run, 500);
    pending = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  };
  return () => {
    requested = true;
    if (!pending && !idling) schedule();
  };
}
