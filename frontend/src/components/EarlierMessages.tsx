// The place before the first message: asks for earlier ones when the person comes near.
import { useEffect, useRef } from 'react';

interface Props {
  loading: boolean;
  open: boolean;
  onLoad: () => void;
}

/** So far above the window that the messages are there before the person is. */
const MARGIN = '800px';

export function EarlierMessages({ loading, open, onLoad }: Props) {
  const place = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!place.current || loading || !open) return;
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some(({ isIntersecting }) => isIntersecting)) onLoad();
      },
      { rootMargin: `${MARGIN} 0px 0px` },
    );
    observer.observe(place.current);
    return () => observer.disconnect();
  }, [loading, open, onLoad]);
  return (
    <div className="earlier" ref={place}>
      <button type="button" className="quiet" aria-disabled={loading || !open} onClick={onLoad}>
        {loading ? 'Loading earlier messages…' : 'Show earlier messages'}
      </button>
    </div>
  );
}
