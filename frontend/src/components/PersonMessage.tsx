// What the person said: plain text, at the right.
import { Ago } from './Ago';

interface Props {
  text: string;
  timestamp: string;
  unsent: boolean;
}

export function PersonMessage({ text, timestamp, unsent }: Props) {
  return (
    <article className="said by-person" aria-label="You" data-unsent={unsent || undefined}>
      <p className="plain" dir="auto">{text}</p>
      <footer><Ago timestamp={timestamp} /></footer>
    </article>
  );
}
