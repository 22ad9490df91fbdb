// Cursors: the order of events in the stream of a conversation.
import type { Cursor } from './frames';
import type { Guard } from './shape';

export const cursor: Guard<Cursor> = (value): value is Cursor =>
  typeof value === 'string' && /^\d+-\d+$/.test(value);

const parts = (value: Cursor): [number, number] => {
  const [ms, seq] = value.split('-').map(Number);
  return [ms ?? 0, seq ?? 0];
};

/** Whether `one` is later in the stream than `other`. */
export function isAfter(one: Cursor, other: Cursor): boolean {
  const [ms, seq] = parts(one);
  const [otherMs, otherSeq] = parts(other);
  return ms === otherMs ? seq > otherSeq : ms > otherMs;
}
