// What each close code of the socket asks of the page: come back, or stay away and say why.

/** Why the page does not come back by itself. */
export type Refusal = 'gone' | 'forbidden';

/** Why the line is down while the page comes back by itself. */
export type Cause = 'lost' | 'restarting' | 'behind' | 'too_big' | 'crowded';

export type CloseMeaning = { stay: Refusal } | { comeBack: Cause };

/** An unknown code is a lost connection: coming back with back-off harms nobody. */
export function meaningOf(code: number): CloseMeaning {
  switch (code) {
    case 4401:
      return { stay: 'gone' };
    case 4403:
      return { stay: 'forbidden' };
    case 4429:
      return { comeBack: 'crowded' };
    case 1009:
      return { comeBack: 'too_big' };
    case 1012:
      return { comeBack: 'restarting' };
    case 1013:
      return { comeBack: 'behind' };
    default:
      return { comeBack: 'lost' };
  }
}
