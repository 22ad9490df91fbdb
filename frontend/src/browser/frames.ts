// When to draw: at most once per animation frame in sight, less often where a frame costs much, and at once in the
// background, where there are no frames.

/** So many times as long as a frame took the page is left alone after it: a long reply must not take all its time. */
const REST = 3;

/** A machine that slept took long for a frame too. */
const LONGEST_REST_MS = 250;

/** Runs `draw` soon, once however often it is asked for. */
export function oncePerFrame(draw: () => void): () => void {
  let pending: (() => void) | null = null;
  let resting = false;
  let asked = false;
  const run = () => {
    pending?.();
    pending = null;
    asked = false;
    const began = performance.now();
    draw();
    if (document.hidden) return;
    resting = true;
    // The next task comes when the frame is laid out and painted.
    setTimeout(() => setTimeout(rested, Math.min(LONGEST_REST_MS, REST * (performance.now() - began))));
  };
  const rested = () => {
    resting = false;
    if (asked) begin();
  };
  const begin = () => {
    if (document.hidden) {
      const timer = setTimeout(run, 0);
      pending = () => clearTimeout(timer);
      return;
    }
    const frame = requestAnimationFrame(run);
    // A tab that goes to the background gets no frame; a slow timer sees to it that it is not forgotten.
    const timer = setTimeout(run, 500);
    pending = () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  };
  return () => {
    asked = true;
    if (!pending && !resting) begin();
  };
}
