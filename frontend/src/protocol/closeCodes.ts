// What the page does for each close code of the socket: reconnect, or stop and say why.

/** Why the page does not reconnect. */
export type Refusal = 'gone' | 'forbidden';

/** Why the connection is down while the page reconnects. */
export type DisconnectCause = 'lost' | 'restarting' | 'behind' | 'too_big' | 'crowded';

export type CloseMeaning = { refused: Refusal } | { reconnect: DisconnectCause };

/** An unknown code counts as a lost connection, because reconnecting with back-off harms nobody. */
export function meaningOf(code: number): CloseMeaning {
  switch (code) {
    case 4401:
      return { refused: 'gone' };
    case 4403:
      return { refused: 'forbidden' };
    case 4429:
      return { reconnect: 'crowded' };
    case 1009:
      return { reconnect: 'too_big' };
    case 1012:
      return { reconnect: 'restarting' };
    case 1013:
      return { reconnect: 'behind' };
    default:
      return { reconnect: 'lost' };
  }
}
