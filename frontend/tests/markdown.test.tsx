// A model's words as Markdown: rich where it is safe, plain where it is not.
import { render, screen } from '@testing-library/react';
import { describe, expect, it } from 'vitest';
import { Markdown } from '../src/components/markdown/Markdown';
import { SAMPLES } from './markdownSamples';

const html = (text: string): string => {
  const { container } = render(<Markdown text={text} />);
  return plain(container.innerHTML);
};

/** Without the elements around text, which are there for browsers' translators. */
const plain = (markup: string): string => markup.replaceAll(/<\/?span>/g, '');

describe('Markdown', () => {
  it.each([
    ['**b**', '<strong>b</strong>'],
    ['*e*', '<em>e</em>'],
    ['~~d~~', '<del>d</del>'],
    ['`<c>`', '<code dir="ltr" translate="no">&lt;c&gt;</code>'],
    ['a\nb', 'a<br>b'],
    ['- x', '<ul dir="auto"><li>x</li></ul>'],
    ['3. x', '<ol dir="auto" start="3"><li>x</li></ol>'],
    ['- [x] done', '☑ '],
    ['> q', '<blockquote dir="auto"><p>q</p></blockquote>'],
    ['***', '<hr>'],
    ['1 &lt; 2', '1 &lt; 2'],
  ])('draws %j', (text, expected) => {
    expect(html(text)).toContain(expected);
  });

  it.each(Object.entries(SAMPLES))('draws the same while it grows and after a reload: %s', (_, text) => {
    const { container, rerender } = render(<Markdown text="" />);
    for (let end = 1; end <= text.length; end += 1) rerender(<Markdown text={text.slice(0, end)} />);
    expect(plain(container.innerHTML)).toBe(html(text));
  });

  it('keeps the selection in a paragraph that grows', () => {
    const { container, rerender } = render(<Markdown text="One two three" />);
    const node = container.querySelector('p span')?.firstChild;
    if (!node) throw new Error('no text');
    getSelection()?.setBaseAndExtent(node, 4, node, 7);
    rerender(<Markdown text="One two three four" />);
    expect(String(getSelection())).toBe('two');
    rerender(<Markdown text="One two three four *five* six" />);
    expect(String(getSelection())).toBe('two');
  });

  it('draws headings below those of the page', () => {
    render(<Markdown text={'# Top'} />);
    expect(screen.getByRole('heading', { level: 2, name: 'Top' })).toBeTruthy();
  });

  it('aligns the columns of a table as it says', () => {
    render(<Markdown text={'| a | b | c |\n|:--|:-:|--:|\n| 1 | 2 | 3 |'} />);
    expect(screen.getAllByRole('cell').map((cell) => cell.dataset.align)).toEqual(['left', 'center', 'right']);
  });

  it('draws tables that can be scrolled by keyboard', () => {
    render(<Markdown text={'| a |\n|---|\n| b |'} />);
    expect(screen.getByRole('group', { name: 'Table' }).tabIndex).toBe(0);
    expect(screen.getByRole('cell', { name: 'b' })).toBeTruthy();
  });

  it('draws code with a button to copy it, also while its fence is open', () => {
    render(<Markdown text={'```python\nprint(1)'} />);
    expect(screen.getByText('print(1)')).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Copy code' })).toBeTruthy();
  });

  it('links out safely', () => {
    render(<Markdown text={'[there](https://example.org)'} />);
    const link = screen.getByRole('link', { name: 'there' });
    expect(link.getAttribute('rel')).toBe('noopener noreferrer nofollow');
    expect(link.getAttribute('target')).toBe('_blank');
  });

  it.each(['[x](javascript:alert(1))', '[x](data:text/html,y)', '[x](/token?name=y)', '<javascript:alert(1)>'])(
    'does not link %s',
    (text) => expect(html(text)).not.toContain('<a'),
  );

  it.each(['<script>alert(1)</script>', 'a <img src=x onerror=alert(1)> b', '<iframe src="//x"></iframe>', '<b onclick=x>y</b>'])(
    'shows HTML as text: %s',
    (text) => {
      const { container } = render(<Markdown text={text} />);
      expect(container.querySelector('script, img, iframe, b')).toBeNull();
      expect(container.textContent).toBe(text);
    },
  );

  it('fetches no image, but links to it by its description', () => {
    const { container } = render(<Markdown text={'![a cat](https://example.org/cat.png)'} />);
    expect(container.querySelector('img')).toBeNull();
    expect(screen.getByRole('link', { name: 'a cat' })).toBeTruthy();
  });
});
