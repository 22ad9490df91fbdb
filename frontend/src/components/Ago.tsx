// How long ago something was. Drawn again only when its words change.
import { useSyncExternalStore } from 'react';
import { ago, onTick } from '../browser/clock';

export function Ago({ timestamp }: { timestamp: string }) {
  const words = useSyncExternalStore(onTick, () => ago(timestamp, Date.now()));
  return (
    <time dateTime={timestamp} title={new Date(timestamp).toLocaleString()}>
      {words}
    </time>
  );
}
