// Announces to screen readers that a reply begins and, when it is complete, its text. Never single words.
import { useEffect, useRef, useState } from 'react';
import { announcement } from '../conversation/announce';
import type { View } from '../conversation/state';

/** Long enough for a screen reader to notice. Then the text is removed, so that it is not read again at the page's end. */
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
  return <div role="status" aria-label="Announcements" className="visually-hidden">{said}</div>;
}
