// A growing text as Markdown blocks. What is settled is never read again, so that the cost of a word
// does not grow with the reply.
import { Lexer, type Token } from 'marked';

export interface Blocks {
  /** The text up to which `settled` goes. */
  prefix: string;
  settled: readonly Token[];
  /** Blocks that later words may still change. */
  open: readonly Token[];
}

export const noBlocks: Blocks = { prefix: '', settled: [], open: [] };

/**
 * The last block grows, and the first characters of a new one ("2" of "2.") may yet prove to belong
 * to the one before: so two stay open.
 */
const OPEN = 2;

const read = (text: string): Token[] => new Lexer({ gfm: true, breaks: true }).lex(text);

const SAMPLE = `# One

Two *three* **four** \`five\` [six](seven)

- eight

> nine

| ten |
|---|
| eleven |

\`\`\`
twelve
\`\`\`
`;

/**
 * Engines compile an expression when it is used for the first time, and again when for the second. Done while nobody
 * waits, that does not hold up the first words of a first reply.
 */
export function warmUp(): void {
  read(SAMPLE);
  read(SAMPLE);
}

const lengthOf = (tokens: readonly Token[]) => tokens.reduce((sum, token) => sum + token.raw.length, 0);

/**
 * A string of its own. To engines a slice is a view of the whole that it was cut from: each settled block would keep
 * alive all that had been written until it was settled.
 */
const ownCopy = (slice: string): string => ` ${slice}`.slice(1);

/** The blocks of a text, going on from those of an earlier one if it is the text's beginning. */
export function blocksOf(source: string, before: Blocks): Blocks {
  const text = source.replaceAll('\r\n', '\n');
  const from = text.startsWith(before.prefix) ? before : noBlocks;
  const tail = ownCopy(text.slice(from.prefix.length));
  const tokens = read(tail);
  // Where the reader changed the text itself, lengths do not say where a block ends.
  const settling = lengthOf(tokens) === tail.length ? countSettled(tokens) : 0;
  const settled = tokens.slice(0, settling);
  return {
    prefix: text.slice(0, from.prefix.length + lengthOf(settled)),
    settled: settled.length > 0 ? [...from.settled, ...settled] : from.settled,
    open: tokens.slice(settling),
  };
}

function countSettled(tokens: readonly Token[]): number {
  let open = 0;
  for (let at = tokens.length - 1; at >= 0; at -= 1) {
    if (tokens[at]?.type !== 'space') open += 1;
    if (open === OPEN) return at;
  }
  return 0;
}

/** Reads a growing text again and again, each time going on from the last. */
export class BlockReader {
  private text = '';
  private blocks = noBlocks;

  read(text: string): Blocks {
    if (text !== this.text) this.blocks = blocksOf(text, this.blocks);
    this.text = text;
    return this.blocks;
  }
}
