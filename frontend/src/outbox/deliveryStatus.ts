// The delivery status of a message that the server has not accepted yet.
import type { OutboxEntry } from '../conversation/exchanges';
import type { Hold, OutboxView } from './outbox';

export type DeliveryStatus =
  | { kind: 'sending' }
  | { kind: 'offline' }
  | ({ kind: 'held' } & Hold)
  | { kind: 'refused'; detail: string };

export function deliveryStatusOf(entry: OutboxEntry, { hold }: OutboxView, open: boolean): DeliveryStatus {
  if (entry.refused !== undefined) return { kind: 'refused', detail: entry.refused };
  if (!open) return { kind: 'offline' };
  return hold ? { kind: 'held', ...hold } : { kind: 'sending' };
}
