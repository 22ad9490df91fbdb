// Keeps the page scrolled to its end while the person is there. Scrolling up releases it.
import { useCallback, useEffect, useRef, useState } from 'react';

/** A gap of this many pixels still counts as the end, because browsers round scroll positions. */
const NEAR_PX = 3;

/** From farther away than this, jump instead of gliding: gliding would render everything in between. */
const FAR_SCREENS = 4;

const reducedMotion = () => window.matchMedia('(prefers-reduced-motion: reduce)').matches;

const page = () => document.documentElement;

const gapBelow = () => page().scrollHeight - page().clientHeight - window.scrollY;

export interface StickToBottom {
  atEnd: boolean;
  toEnd: (smoothly: boolean) => void;
}

/** `hasContent`: whether there is something to follow; an empty page is read from its top. */
export function useStickToBottom(hasContent: boolean): StickToBottom {
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
    if (!hasContent) return;
    const place = () => ({ y: window.scrollY, height: page().scrollHeight, window: page().clientHeight });
    let last = place();
    // The wheel was turned but the page has not moved yet, so its position says nothing about the person's wish.
    let turned = false;
    const look = () => {
      const now = place();
      // If the height of the page or window changed, the browser may have moved the page, not the person.
      const movedUp = now.y < last.y && now.height === last.height && now.window === last.window;
      // The first frame of a glide upwards is still near the end, so after a move upwards only the exact end counts.
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
  }, [hasContent]);

  return { atEnd, toEnd };
}
