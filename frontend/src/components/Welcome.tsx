// Shown in a conversation without messages.
import { useEffect } from 'react';
import { warmUp } from './markdown/blocks';

export function Welcome() {
  useEffect(warmUp, []);
  return (
    <div className="welcome">
      <p className="large">The line is open. Say something.</p>
      <p>The model goes on from what it reads, so a full sentence gets a better answer than a single word.</p>
    </div>
  );
}
