// When to draw: once per animation frame in sight, at once in the background, where there are none.

/** Runs `draw` soon, once however often it is asked for. */
export function oncePerFrame(draw: () => void): () => void {
  let pending: (() => void) | null = null;
  const run = () => {
    pending?.();
    pending = null;
    draw();
  };
  return () => {
    if (pending) return;
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
}
