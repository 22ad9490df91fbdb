// The notice that stands wherever a model's words may come.

export const Caution = () => (
  <p className="caution">An AI writes the replies. Its words are hard to predict and may offend.</p>
);
