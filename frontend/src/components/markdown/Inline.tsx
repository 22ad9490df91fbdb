// Tokens within a line as React elements. No HTML string is ever made: what a model writes as HTML is shown as text.
import type { MarkedToken, Token } from 'marked';
import { Fragment, type ReactNode } from 'react';
import { withoutEntities } from './entities';
import { safeAddress } from './links';

export function Inline({ tokens }: { tokens: readonly Token[] | undefined }) {
  return tokens?.map((token, at) => <Fragment key={at}>{inline(token as MarkedToken)}</Fragment>);
}

function inline(token: MarkedToken): ReactNode {
  switch (token.type) {
    case 'text':
      return token.tokens ? <Inline tokens={token.tokens} /> : withoutEntities(token.text);
    case 'strong':
      return <strong><Inline tokens={token.tokens} /></strong>;
    case 'em':
      return <em><Inline tokens={token.tokens} /></em>;
    case 'del':
      return <del><Inline tokens={token.tokens} /></del>;
    case 'codespan':
      return <code dir="ltr">{token.text}</code>;
    case 'br':
      return <br />;
    case 'escape':
      return token.text;
    case 'checkbox':
      return token.checked ? '☑ ' : '☐ ';
    case 'link':
      return <Outward href={token.href}><Inline tokens={token.tokens} /></Outward>;
    case 'image':
      return <Outward href={token.href}>{token.text || 'image'}</Outward>;
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
