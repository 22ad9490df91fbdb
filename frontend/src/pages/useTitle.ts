// The title of the tab. It tells that a reply finished while the tab was in the background.
import { useEffect, useRef } from 'react';
import type { View } from '../conversation/state';

const lastReply = (view: View) => view.messages.findLast((message) => message.role === 'bot')?.id;

export function useTitle(view: View): void {
  const before = useRef(view);
  const usual = view.name === '' ? 'Parley' : `${view.name} – Parley`;
  useEffect(() => {
    const finished = before.current.phase === 'ready' && lastReply(before.current) !== lastReply(view);
    before.current = view;
    if (!document.hidden) document.title = usual;
    else if (finished) document.title = `● Reply ready – Parley`;
    const onVisible = () => {
      if (!document.hidden) document.title = usual;
    };
    document.addEventListener('visibilitychange', onVisible);
    return () => document.removeEventListener('visibilitychange', onVisible);
  }, [view, usual]);
}
