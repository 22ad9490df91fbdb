// The text of a reply as Markdown, complete or still growing.
import { memo, useState } from 'react';
import { Block } from './Block';
import { BlockReader } from './blocks';

export const Markdown = memo(function Markdown({ text }: { text: string }) {
  const [reader] = useState(() => new BlockReader());
  const { settled, open, definitions } = reader.read(text);
  return (
    <div className="prose">
      {settled.map((token, at) => <Block key={at} token={token} definitions={definitions} />)}
      {open.map((token, at) => <Block key={settled.length + at} token={token} definitions={definitions} />)}
    </div>
  );
});
