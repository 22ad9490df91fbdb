// A block of code with a copy button.
import { CopyButton } from '../CopyButton';
import { textRef } from './text';

export function CodeBlock({ code, language }: { code: string; language: string }) {
  return (
    <figure className="code" dir="ltr">
      <figcaption>
        <span>{language === '' ? 'code' : language.split(/\s/)[0]}</span>
        <CopyButton text={code} label="Copy code" />
      </figcaption>
      <pre tabIndex={0} translate="no"><code ref={textRef(code)} /></pre>
    </figure>
  );
}
