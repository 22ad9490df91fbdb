// The title of the tab. It tells that a reply finished or failed while the tab was in the background.
import { useEffect, useRef } from 'react';
import type { View } from '../conversation/state';

const lastReply = (view: View) => view.messages.findLast((message) => message.role === 'bot')?.id;

const lastFailure = ({ messages }: View) => {
  const last = messages.findLast((message) => message.role === 'human');
  return last?.failed?.id;
};

export function useTitle(view: View): void {
  const before = useRef(view);
  const usual = view.name === '' ? 'Parley' : `${view.name} – Parley`;
  useEffect(() => {
    const wasReady = before.current.phase === 'ready';
    const finished = wasReady && lastReply(before.current) !== lastReply(view);
    const failure = lastFailure(view);
    const failed = wasReady && failure !== undefined && lastFailure(before.current) !== failure;
    before.current = view;
    if (!document.hidden) document.title = usual;
    else if (failed) document.title = '● Reply failed – Parley';
    else if (finished) document.title = '● Reply ready – Parley';
    const onVisible = () => {
      if (!document.hidden) document.title = usual;
    };
    document.addEventListener('visibilitychange', onVisible);
    return () => document.removeEventListener('visibilitychange', onVisible);
  }, [view, usual]);
}
