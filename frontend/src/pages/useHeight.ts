// Tells the style sheet how high the composer's dock and the header are, so that a message can be brought under the header.
import { useEffect, type RefObject } from 'react';

export function useHeight(element: RefObject<HTMLElement | null>, property: `--${string}`): void {
  useEffect(() => {
    const { current } = element;
    if (!current) return;
    const observer = new ResizeObserver(() => {
      document.documentElement.style.setProperty(property, `${current.offsetHeight}px`);
    });
    observer.observe(current);
    return () => observer.disconnect();
  }, [element, property]);
}
