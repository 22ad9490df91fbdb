// A message of the person: plain text, aligned right.
import type { ReactNode } from 'react';
import { TimeAgo } from './TimeAgo';

interface Props {
  text: string;
  timestamp: string;
  /** Why the message is not accepted yet. It replaces the time, so that nothing moves when the server accepts. */
  unsent: ReactNode;
}

export function PersonMessage({ text, timestamp, unsent }: Props) {
  return (
    <article className="by-person" aria-label="You" data-unsent={unsent !== null || undefined}>
      <p className="plain" dir="auto">{text}</p>
      <footer>{unsent ?? <TimeAgo timestamp={timestamp} />}</footer>
    </article>
  );
}
