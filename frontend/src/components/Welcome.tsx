// What stands in a conversation before its first word.

export const Welcome = () => (
  <div className="welcome">
    <p className="large">The line is open. Say something.</p>
    <p>The model goes on from what it reads, so a full sentence gets a better answer than a single word.</p>
  </div>
);
