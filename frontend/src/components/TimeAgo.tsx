// A relative time. It renders again only when its text changes.
import { useSyncExternalStore } from 'react';
import { ago, onTick } from '../browser/clock';

export function TimeAgo({ timestamp }: { timestamp: string }) {
  const text = useSyncExternalStore(onTick, () => ago(timestamp, Date.now()));
  return (
    <time dateTime={timestamp} title={new Date(timestamp).toLocaleString()}>
      {text}
    </time>
  );
}
