// Speaks to screen readers: that a reply begins, and the reply once it is whole; never its single words.
import { useEffect, useRef, useState } from 'react';
import { announcement } from '../conversation/announce';
import type { View } from '../conversation/state';

/** Long enough to be picked up; then it goes, lest it be read a second time at the end of the page. */
const KEPT_MS = 5_000;

export function Announcer({ view }: { view: View }) {
  const before = useRef(view);
  const [said, setSaid] = useState('');
  useEffect(() => {
    const next = announcement(before.current, view);
    before.current = view;
    if (next !== null) setSaid(next);
  }, [view]);
  useEffect(() => {
    const timer = setTimeout(() => setSaid(''), KEPT_MS);
    return () => clearTimeout(timer);
  }, [said]);
  return <div role="status" aria-label="Announcements" className="offscreen">{said}</div>;
}
