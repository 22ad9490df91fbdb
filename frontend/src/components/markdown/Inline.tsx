// Tokens within a line as React elements. No HTML string is ever made: what a model writes as HTML is shown as text.
import type { MarkedToken, Token } from 'marked';
import type { ReactNode } from 'react';
import { withoutEntities } from './entities';
import { safeAddress } from './links';

/**
 * The tokens as React's nodes. A function and not a component: what React keeps for each component of a long
 * reply is many times the reply's text.
 */
export function inline(tokens: readonly Token[] | undefined): ReactNode {
  const nodes = tokens?.map((token, at) => node(token as MarkedToken, at));
  return nodes?.length === 1 ? nodes[0] : nodes;
}

function node(token: MarkedToken, key: number): ReactNode {
  switch (token.type) {
    case 'text':
      return token.tokens ? inline(token.tokens) : withoutEntities(token.text);
    case 'strong':
      return <strong key={key}>{inline(token.tokens)}</strong>;
    case 'em':
      return <em key={key}>{inline(token.tokens)}</em>;
    case 'del':
      return <del key={key}>{inline(token.tokens)}</del>;
    case 'codespan':
      return <code key={key} dir="ltr">{token.text}</code>;
    case 'br':
      return <br key={key} />;
    case 'escape':
      return token.text;
    case 'checkbox':
      return token.checked ? '☑ ' : '☐ ';
    case 'link':
      return <Outward key={key} href={token.href}>{inline(token.tokens)}</Outward>;
    case 'image':
      return <Outward key={key} href={token.href}>{token.text || 'image'}</Outward>;
    default:
      return token.raw;
  }
}

/** A link out of the page; an image is one too, since nothing is fetched from elsewhere unasked. */
function Outward({ href, children }: { href: string; children: ReactNode }) {
  const address = safeAddress(href);
  if (address === null) return children;
  return (
    <a href={address} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}
