// Keeps the end of the page in sight for as long as the person is there, and lets go when they scroll up.
import { useCallback, useEffect, useRef, useState } from 'react';

/** Closer to the end than this counts as being there: browsers round scroll positions. */
const NEAR_PX = 3;

/** From farther away than this many screens one is taken to the end at once: all in between would have to be drawn. */
const FAR_SCREENS = 4;

const reducedMotion = () => window.matchMedia('(prefers-reduced-motion: reduce)').matches;

const page = () => document.documentElement;

const gapBelow = () => page().scrollHeight - page().clientHeight - window.scrollY;

export interface Follow {
  atEnd: boolean;
  toEnd: (smoothly: boolean) => void;
}

/** `anything`: whether there is something to follow yet; an empty page is read from its top. */
export function useFollow(anything: boolean): Follow {
  const following = useRef(true);
  const [atEnd, setAtEnd] = useState(true);

  const toEnd = useCallback((smoothly: boolean) => {
    following.current = true;
    setAtEnd(true);
    const near = gapBelow() < FAR_SCREENS * window.innerHeight;
    const behavior = smoothly && near && !reducedMotion() ? 'smooth' : 'instant';
    window.scrollTo({ top: page().scrollHeight, behavior });
  }, []);

  useEffect(() => {
    if (!anything) return;
    let last = { y: window.scrollY, height: page().scrollHeight };
    const letGo = () => (following.current = false);
    const onScroll = () => {
      const now = { y: window.scrollY, height: page().scrollHeight };
      if (gapBelow() <= NEAR_PX) following.current = true;
      // Where the page's height changed, the browser may have moved it, not the person.
      else if (now.y < last.y && now.height === last.height) letGo();
      last = now;
      setAtEnd(following.current);
    };
    const onWheel = ({ deltaY, target }: WheelEvent) => {
      if (deltaY < 0 && window.scrollY > 0 && !(target instanceof HTMLTextAreaElement)) letGo();
    };
    const keep = () => {
      if (following.current) window.scrollTo({ top: page().scrollHeight, behavior: 'instant' });
      else onScroll();
    };
    const observer = new ResizeObserver(keep);
    observer.observe(document.body);
    addEventListener('scroll', onScroll, { passive: true });
    addEventListener('wheel', onWheel, { passive: true });
    addEventListener('resize', keep);
    return () => {
      observer.disconnect();
      removeEventListener('scroll', onScroll);
      removeEventListener('wheel', onWheel);
      removeEventListener('resize', keep);
    };
  }, [anything]);

  return { atEnd, toEnd };
}
