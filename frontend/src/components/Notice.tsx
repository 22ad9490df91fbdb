// A sentence about something that did not work. It can be dismissed and also leaves by itself.

interface Props {
  text: string | null;
  onDismiss: () => void;
}

export function Notice({ text, onDismiss }: Props) {
  return (
    <div role="alert">
      {text !== null && (
        <p className="notice">
          <span>{text}</span>
          <button type="button" className="quiet" onClick={onDismiss}>Dismiss</button>
        </p>
      )}
    </div>
  );
}
