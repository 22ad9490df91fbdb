// What the person said: plain text, at the right.
import type { ReactNode } from 'react';
import { Ago } from './Ago';

interface Props {
  text: string;
  timestamp: string;
  /** Why it is not accepted yet; takes the time's place, so that nothing moves once it is. */
  unsent: ReactNode;
}

export function PersonMessage({ text, timestamp, unsent }: Props) {
  return (
    <article className="said by-person" aria-label="You" data-unsent={unsent !== null || undefined}>
      <p className="plain" dir="auto">{text}</p>
      <footer>{unsent ?? <Ago timestamp={timestamp} />}</footer>
    </article>
  );
}
