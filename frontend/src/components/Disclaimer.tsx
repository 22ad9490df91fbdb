// The disclaimer about text written by a model.

export const Disclaimer = () => (
  <p className="disclaimer">An AI writes the replies. Its words are hard to predict and may offend.</p>
);
