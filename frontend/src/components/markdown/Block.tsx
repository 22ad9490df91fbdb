// One Markdown block as React elements; drawn again only when its own text changed.
import type { MarkedToken, Token, Tokens } from 'marked';
import { memo, type ReactNode } from 'react';
import { CodeBlock } from './CodeBlock';
import { Inline } from './Inline';

const sameText = (before: { token: Token }, after: { token: Token }) =>
  before.token.type === after.token.type && before.token.raw === after.token.raw;

export const Block = memo(function Block({ token }: { token: Token }) {
  return block(token as MarkedToken);
}, sameText);

export function BlockList({ tokens }: { tokens: readonly Token[] }) {
  return tokens.map((token, at) => <Block key={at} token={token} />);
}

function block(token: MarkedToken): ReactNode {
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'paragraph':
      return <p dir="auto"><Inline tokens={token.tokens} /></p>;
    case 'heading':
      // The page has its own headings: a reply's stand below them and all look alike.
      return <p dir="auto" className="heading" role="heading" aria-level={Math.min(6, token.depth + 1)}><Inline tokens={token.tokens} /></p>;
    case 'code':
      return <CodeBlock code={token.text} language={token.lang ?? ''} />;
    case 'blockquote':
      return <blockquote dir="auto"><BlockList tokens={token.tokens} /></blockquote>;
    case 'list':
      return <List token={token} />;
    case 'table':
      return <Table token={token} />;
    case 'hr':
      return <hr />;
    case 'checkbox':
      return <Inline tokens={[token]} />;
    case 'text':
      return <Inline tokens={token.tokens ?? [token]} />;
    default:
      return <p dir="auto" className="verbatim">{token.raw}</p>;
  }
}

function List({ token }: { token: Tokens.List }) {
  const items = token.items.map((item, at) => <Item key={at} token={item} />);
  // The list as a whole has one direction: an item's own would put its mark outside, past the page's edge.
  if (!token.ordered) return <ul dir="auto">{items}</ul>;
  return <ol dir="auto" start={token.start === '' ? 1 : token.start}>{items}</ol>;
}

const Item = memo(function Item({ token }: { token: Tokens.ListItem }) {
  return <li><BlockList tokens={token.tokens} /></li>;
}, sameText);

function Table({ token }: { token: Tokens.Table }) {
  return (
    <div className="table" role="group" aria-label="Table" tabIndex={0}>
      <table>
        <thead>
          <tr>{token.header.map((cell, at) => <th key={at} dir="auto" scope="col"><Inline tokens={cell.tokens} /></th>)}</tr>
        </thead>
        <tbody>
          {token.rows.map((row, at) => (
            <tr key={at}>{row.map((cell, column) => <td key={column} dir="auto"><Inline tokens={cell.tokens} /></td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
