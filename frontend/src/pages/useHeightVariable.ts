// Publishes the height of an element as a CSS custom property.
import { useEffect, type RefObject } from 'react';

export function useHeightVariable(element: RefObject<HTMLElement | null>, property: `--${string}`): void {
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
