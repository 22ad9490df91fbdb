// One Markdown block as React elements. It renders again only when its own text changed.
import type { MarkedToken, Token, Tokens } from 'marked';
import { memo, type ReactNode } from 'react';
import { CodeBlock } from './CodeBlock';
import { inline } from './Inline';
import { textRef } from './text';

interface Props {
  token: Token;
  /** The link definitions of the whole text: with others, the same words may become other links. */
  definitions: string;
  /** Inside a list or a quotation, the outermost block sets the text direction. */
  within?: boolean;
}

const isEqual = (before: Props, after: Props) =>
  before.token.type === after.token.type &&
  before.token.raw === after.token.raw &&
  before.definitions === after.definitions;

export const Block = memo(function Block({ token, definitions, within = false }: Props) {
  return block(token as MarkedToken, definitions, within ? undefined : 'auto');
}, isEqual);

function BlockList({ tokens, definitions }: { tokens: readonly Token[]; definitions: string }) {
  return tokens.map((token, at) => <Block key={at} token={token} definitions={definitions} within />);
}

function block(token: MarkedToken, definitions: string, dir: 'auto' | undefined): ReactNode {
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'paragraph':
      return <p dir={dir}>{inline(token.tokens)}</p>;
    case 'heading':
      // The page has headings of its own. Those of a reply are one level below and all look alike.
      return <p dir={dir} className="heading" role="heading" aria-level={Math.min(6, token.depth + 1)}>{inline(token.tokens)}</p>;
    case 'code':
      return <CodeBlock code={token.text} language={token.lang ?? ''} />;
    case 'blockquote':
      return <blockquote dir={dir}><BlockList tokens={token.tokens} definitions={definitions} /></blockquote>;
    case 'list':
      return <List token={token} definitions={definitions} dir={dir} />;
    case 'table':
      return <Table token={token} />;
    case 'hr':
      return <hr />;
    case 'checkbox':
      return inline([token]);
    case 'text':
      return inline(token.tokens ?? [token]);
    default:
      return <p dir={dir} className="verbatim" ref={textRef(token.raw)} />;
  }
}

interface ListProps {
  token: Tokens.List;
  definitions: string;
  dir: 'auto' | undefined;
}

function List({ token, definitions, dir }: ListProps) {
  const items = token.items.map((item, at) => <Item key={at} token={item} definitions={definitions} />);
  // One direction for the whole list: an item with its own direction would put its marker outside the page.
  if (!token.ordered) return <ul dir={dir}>{items}</ul>;
  return <ol dir={dir} start={token.start === '' ? 1 : token.start}>{items}</ol>;
}

const Item = memo(function Item({ token, definitions }: { token: Tokens.ListItem; definitions: string }) {
  return <li><BlockList tokens={token.tokens} definitions={definitions} /></li>;
}, isEqual);

function Table({ token }: { token: Tokens.Table }) {
  return (
    <div className="table" role="group" aria-label="Table" tabIndex={0}>
      <table>
        <thead>
          <tr>{token.header.map((cell, at) => <th key={at} dir="auto" scope="col" data-align={cell.align ?? undefined}>{inline(cell.tokens)}</th>)}</tr>
        </thead>
        <tbody>
          {token.rows.map((row, at) => (
            <tr key={at}>{row.map((cell, column) => <td key={column} dir="auto" data-align={cell.align ?? undefined}>{inline(cell.tokens)}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
