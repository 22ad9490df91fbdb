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
    const place = () => ({ y: window.scrollY, height: page().scrollHeight, window: page().clientHeight });
    let last = place();
    // The wheel was turned and the page has not moved yet: that it is still at the end means nothing.
    let turned = false;
    const look = () => {
      const now = place();
      // Where the page's or the window's height changed, the browser may have moved it, not the person.
      const movedUp = now.y < last.y && now.height === last.height && now.window === last.window;
      // The first frame of a glide upwards is near the end too; below the end a page only springs back.
      if (gapBelow() <= (movedUp ? 0 : NEAR_PX)) following.current = true;
      else if (movedUp) following.current = false;
      last = now;
      setAtEnd(following.current);
    };
    const onScroll = () => {
      turned = false;
      look();
    };
    const onWheel = ({ deltaY, target }: WheelEvent) => {
      if (deltaY >= 0 || window.scrollY === 0 || target instanceof HTMLTextAreaElement) return;
      turned = true;
      following.current = false;
    };
    const keep = () => {
      if (following.current) window.scrollTo({ top: page().scrollHeight, behavior: 'instant' });
      else if (!turned) look();
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
