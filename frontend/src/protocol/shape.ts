// Small type guards to compose the shape of a frame. Unknown fields are ignored.

export type Guard<T> = (value: unknown) => value is T;

export const text: Guard<string> = (value) => typeof value === 'string';

export const number: Guard<number> = (value): value is number =>
  typeof value === 'number' && Number.isFinite(value);

export const flag: Guard<boolean> = (value) => typeof value === 'boolean';

export const optional =
  <T>(guard: Guard<T>): Guard<T | undefined> =>
  (value): value is T | undefined =>
    value === undefined || guard(value);

export const nullable =
  <T>(guard: Guard<T>): Guard<T | null> =>
  (value): value is T | null =>
    value === null || guard(value);

export const oneOf =
  <const T extends string>(...words: T[]): Guard<T> =>
  (value): value is T =>
    (words as unknown[]).includes(value);

export const list =
  <T>(guard: Guard<T>): Guard<T[]> =>
  (value): value is T[] =>
    Array.isArray(value) && value.every(guard);

export const either =
  <A, B>(first: Guard<A>, second: Guard<B>): Guard<A | B> =>
  (value): value is A | B =>
    first(value) || second(value);

/** An object with at least these fields, each of its own shape. */
export const shape =
  <T>(fields: { [Name in keyof T]-?: Guard<T[Name]> }): Guard<T> =>
  (value): value is T =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.entries<Guard<unknown>>(fields).every(([name, guard]) =>
      guard((value as Record<string, unknown>)[name]),
    );
