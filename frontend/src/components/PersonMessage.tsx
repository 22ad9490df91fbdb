// A message of the person: plain text, aligned right.
import type { ReactNode } from 'react';
import { CopyButton } from './CopyButton';
import { TimeAgo } from './TimeAgo';

interface Props {
  text: string;
  timestamp: string;
  /** Why the message is not accepted yet. It replaces the footer, so that nothing moves when the server accepts. */
  unsent: ReactNode;
  /** Null where the message cannot be edited. */
  onEdit: (() => void) | null;
}

export function PersonMessage({ text, timestamp, unsent, onEdit }: Props) {
  return (
    <article className="by-person" aria-label="You" data-unsent={unsent !== null || undefined}>
      <p className="plain" dir="auto">{text}</p>
      <footer>
        {unsent ?? (
          <>
            <span className="actions">
              {onEdit && <button type="button" className="quiet" onClick={onEdit}>Edit</button>}
              <CopyButton text={text} label="Copy message" />
            </span>
            <TimeAgo timestamp={timestamp} />
          </>
        )}
      </footer>
    </article>
  );
}
