// A growing text as Markdown blocks. Settled blocks are not parsed again, so the cost of a new word does not grow
// with the length of the reply.
import { Lexer, type MarkedToken, type Token } from 'marked';

export interface Blocks {
  /** The part of the text that `settled` covers. */
  prefix: string;
  settled: readonly Token[];
  /** Blocks that later text may still change. */
  open: readonly Token[];
  /** The link definitions (`[1]: https://…`) in `settled`, as written, each on a line. */
  settledDefinitions: string;
  /** Those of the whole text. Blocks before and after a definition use it. */
  definitions: string;
}

export const noBlocks: Blocks = { prefix: '', settled: [], open: [], settledDefinitions: '', definitions: '' };

/**
 * Two blocks stay open: the last one grows, and its first characters (such as the "2" of "2.") may still turn out
 * to belong to the block before.
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
 * JavaScript engines compile a regular expression on first use and optimise it on the second. Doing both before the
 * first reply keeps that work from delaying its first words.
 */
export function warmUp(): void {
  read(SAMPLE);
  read(SAMPLE);
}

const lengthOf = (tokens: readonly Token[]) => tokens.reduce((sum, token) => sum + token.raw.length, 0);

/**
 * A copy with its own memory. In JavaScript engines a slice is a view of the original string, so each settled block
 * would keep the whole text alive.
 */
const ownCopy = (slice: string): string => ` ${slice}`.slice(1);

/** The blocks of a text. Continues from `before` if that was the beginning of the same text. */
export function blocksOf(source: string, before: Blocks): Blocks {
  const text = source.replaceAll('\r\n', '\n');
  const from = text.startsWith(before.prefix) ? before : noBlocks;
  const blocks = continued(text, from);
  // A new definition may turn words of settled blocks into links.
  return blocks.definitions === from.definitions ? blocks : continued(text, noBlocks);
}

function continued(text: string, from: Blocks): Blocks {
  const tail = ownCopy(text.slice(from.prefix.length));
  const tokens = readAfter(from.settledDefinitions, tail);
  // If the parser changed the text itself, token lengths do not say where a block ends.
  const settling = lengthOf(tokens) === tail.length ? countSettled(tokens) : 0;
  const newlySettled = tokens.slice(0, settling);
  const open = tokens.slice(settling);
  const settledDefinitions = from.settledDefinitions + definitionsIn(newlySettled);
  return {
    prefix: text.slice(0, from.prefix.length + lengthOf(newlySettled)),
    settled: settling > 0 ? [...from.settled, ...newlySettled] : from.settled,
    open,
    settledDefinitions,
    definitions: settledDefinitions + definitionsIn(open),
  };
}

function definitionsIn(tokens: readonly Token[]): string {
  return (tokens as readonly MarkedToken[])
    .map((token) => {
      if (token.type === 'def') return `${token.raw.trim()}\n`;
      if (token.type === 'list') return token.items.map((item) => definitionsIn(item.tokens)).join('');
      return token.type === 'blockquote' ? definitionsIn(token.tokens) : '';
    })
    .join('');
}

/** The tokens of a text that may use definitions from before it. */
function readAfter(definitions: string, text: string): Token[] {
  if (definitions === '') return read(text);
  const prefix = `${definitions}\n`;
  let end = 0;
  return read(prefix + text).flatMap((token) => {
    const start = end;
    end += token.raw.length;
    if (end <= prefix.length) return [];
    // An empty line that began in the prefix may go on in the text.
    return start < prefix.length ? [{ ...token, raw: token.raw.slice(prefix.length - start) }] : [token];
  });
}

function countSettled(tokens: readonly Token[]): number {
  let open = 0;
  for (let at = tokens.length - 1; at >= 0; at -= 1) {
    if (tokens[at]?.type !== 'space') open += 1;
    if (open === OPEN) return at;
  }
  return 0;
}

/** Parses a growing text repeatedly, each time continuing from the last result. */
export class BlockReader {
  private text = '';
  private blocks = noBlocks;

  read(text: string): Blocks {
    if (text !== this.text) this.blocks = blocksOf(text, this.blocks);
    this.text = text;
    return this.blocks;
  }
}
