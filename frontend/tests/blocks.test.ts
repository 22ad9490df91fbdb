// Growing Markdown: however the text arrives, the same blocks, and the settled ones never read again.
import { describe, expect, it } from 'vitest';
import { BlockReader, blocksOf, noBlocks } from '../src/components/markdown/blocks';
import { withoutEntities } from '../src/components/markdown/entities';
import { safeAddress } from '../src/components/markdown/links';

const TEXT = `First *paragraph* with a line
break.

1. one

2. two
   - inner

3. three

\`\`\`js
const a = 1;

const b = 2;
\`\`\`

| a | b |
|---|---|
| 1 | 2 |

> quoted
still quoted

# Heading

Setext
======

The end &amp; more.`;

const shapeOf = ({ settled, open }: typeof noBlocks) =>
  [...settled, ...open].filter(({ type }) => type !== 'space').map(({ type, raw }) => [type, raw.trimEnd()]);

describe('blocks', () => {
  const whole = shapeOf(blocksOf(TEXT, noBlocks));

  it('are those of the whole text when it comes character by character', () => {
    const reader = new BlockReader();
    let last = noBlocks;
    for (let end = 1; end <= TEXT.length; end += 1) last = reader.read(TEXT.slice(0, end));
    expect(shapeOf(last)).toEqual(whole);
    expect(last.settled.length).toBeGreaterThan(4);
  });

  it('that are settled stay the very same objects', () => {
    const half = blocksOf(TEXT.slice(0, 120), noBlocks);
    const full = blocksOf(TEXT, half);
    expect(half.settled.length).toBeGreaterThan(0);
    expect(full.settled.slice(0, half.settled.length)).toEqual(half.settled);
    expect(full.settled[0]).toBe(half.settled[0]);
  });

  it('start over when the text is another one', () => {
    expect(shapeOf(blocksOf('Other', blocksOf(TEXT, noBlocks)))).toEqual([['paragraph', 'Other']]);
  });

  it('take an unclosed fence for code', () => {
    expect(blocksOf('```js\nlet a', noBlocks).open).toMatchObject([{ type: 'code', text: 'let a' }]);
  });
});

describe('addresses', () => {
  it.each(['https://example.org/a?b#c', 'http://example.org', 'mailto:ada@example.org'])('%s may be linked', (href) => {
    expect(safeAddress(href)).toBe(href);
  });

  it.each(['javascript:alert(1)', 'JaVaScRiPt:alert(1)', ' javascript:alert(1)', 'java\nscript:alert(1)', 'data:text/html,x', 'vbscript:x', '/relative', '//host/x', 'blob:x', ''])(
    '%j may not',
    (href) => expect(safeAddress(href)).toBeNull(),
  );
});

describe('character references', () => {
  it('are read where they are common, and left alone elsewhere', () => {
    expect(withoutEntities('&lt;b&gt; &amp; &#65;&#x42; &nosuch; &#0; &#9999999;')).toBe('<b> & AB &nosuch; &#0; &#9999999;');
  });
});
