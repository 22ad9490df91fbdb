// Inline tokens as React elements. No HTML string is ever made, so HTML in a reply is shown as text.
import type { MarkedToken, Token } from 'marked';
import { Fragment, type ReactNode } from 'react';
import { withoutEntities } from './entities';
import { safeAddress } from './links';
import { textRef } from './text';

/**
 * The tokens as React nodes. This is a function and not a component, because React's memory for one component is
 * many times that of a token's text.
 */
export function inline(tokens: readonly Token[] | undefined): ReactNode {
  const nodes = tokens?.map((token, at) => node(token as MarkedToken, at));
  return nodes?.length === 1 ? nodes[0] : nodes;
}

function node(token: MarkedToken, key: number): ReactNode {
  switch (token.type) {
    case 'text':
      return token.tokens ? <Fragment key={key}>{inline(token.tokens)}</Fragment> : run(withoutEntities(token.text), key);
    case 'strong':
      return <strong key={key}>{inline(token.tokens)}</strong>;
    case 'em':
      return <em key={key}>{inline(token.tokens)}</em>;
    case 'del':
      return <del key={key}>{inline(token.tokens)}</del>;
    case 'codespan':
      return <code key={key} dir="ltr" translate="no" ref={textRef(token.text)} />;
    case 'br':
      return <br key={key} />;
    case 'escape':
      return run(token.text, key);
    case 'checkbox':
      return run(token.checked ? '☑ ' : '☐ ', key);
    case 'link':
      return <ExternalLink key={key} href={token.href}>{inline(token.tokens)}</ExternalLink>;
    case 'image':
      return <ExternalLink key={key} href={token.href}>{run(token.text || 'image')}</ExternalLink>;
    default:
      return run(token.raw, key);
  }
}

/** A run of plain text, in an element of its own. */
const run = (text: string, key?: number): ReactNode => <span key={key} ref={textRef(text)} />;

/** A link to another site. Images are links too, because the page loads nothing from other sites by itself. */
function ExternalLink({ href, children }: { href: string; children: ReactNode }) {
  const address = safeAddress(href);
  if (address === null) return children;
  return (
    <a href={address} target="_blank" rel="noopener noreferrer nofollow">
      {children}
    </a>
  );
}
