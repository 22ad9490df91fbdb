// A button that copies a text and confirms it.
import { useEffect, useState } from 'react';
import { copyText } from '../browser/copy';

interface Props {
  text: string;
  label: string;
}

const SHOWN_MS = 2_000;

type Outcome = 'copied' | 'failed' | null;

export function CopyButton({ text, label }: Props) {
  const [outcome, setOutcome] = useState<Outcome>(null);
  useEffect(() => {
    if (outcome === null) return;
    const timer = setTimeout(() => setOutcome(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  const copy = async () => setOutcome((await copyText(text)) ? 'copied' : 'failed');
  return (
    <>
      <button type="button" className="quiet" aria-label={label} onClick={() => void copy()}>
        {outcome === 'copied' ? 'Copied' : outcome === 'failed' ? 'Not copied' : 'Copy'}
      </button>
      <span role="status" className="visually-hidden">
        {outcome === 'copied' ? 'Copied.' : outcome === 'failed' ? 'The browser did not allow copying.' : ''}
      </span>
    </>
  );
}
