// Where a message that is not accepted yet stands, for the person to read.
import type { Entry } from '../conversation/exchanges';
import type { Hold, OutboxView } from './outbox';

export type Standing =
  | { kind: 'sending' }
  | { kind: 'offline' }
  | ({ kind: 'held' } & Hold)
  | { kind: 'refused'; detail: string };

export function standingOf(entry: Entry, { hold }: OutboxView, open: boolean): Standing {
  if (entry.refused !== undefined) return { kind: 'refused', detail: entry.refused };
  if (!open) return { kind: 'offline' };
  return hold ? { kind: 'held', ...hold } : { kind: 'sending' };
}
