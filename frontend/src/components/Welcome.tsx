// Shown in a conversation without messages.
import { useEffect } from 'react';
import { warmUp } from './markdown/blocks';

/** The model continues text, so each one is the beginning of a text or asks for one. */
const OPENERS = [
  'Tell me a short story that begins in a lighthouse.',
  'Explain why the sea has tides, in simple words.',
  'Write four lines about the first snow.',
];

export function Welcome({ onChoose }: { onChoose: (opener: string) => void }) {
  useEffect(warmUp, []);
  return (
    <div className="welcome">
      <p className="large">Say something to begin.</p>
      <p>The model continues what it reads, so a full sentence gets a better answer than a single word. For example:</p>
      <ul className="openers">
        {OPENERS.map((opener) => (
          <li key={opener}>
            <button type="button" className="opener" onClick={() => onChoose(opener)}>{opener}</button>
          </li>
        ))}
      </ul>
    </div>
  );
}
