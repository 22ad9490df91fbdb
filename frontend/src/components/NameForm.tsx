// Asks for a name and starts a chat.
import { useEffect, useId, useRef, useState, type FormEvent } from 'react';
import { sentenceOf } from '../browser/http';
import { isTouch } from '../browser/touch';

interface Props {
  name?: string;
  button: string;
  /** The field takes the focus when the page opens, but not on touch, where a keyboard would cover the page. */
  focused?: boolean;
  /** Rejects with an error whose message is shown to the person. */
  onStart: (name: string) => Promise<void>;
}

const MISSING = 'Please enter a name first.';

export function NameForm({ name: given = '', button, focused = false, onStart }: Props) {
  const id = useId();
  const field = useRef<HTMLInputElement>(null);
  const [name, setName] = useState(given);
  const [problem, setProblem] = useState('');
  const [starting, setStarting] = useState(false);

  useEffect(() => {
    if (focused && !isTouch()) field.current?.focus({ preventScroll: true });
  }, [focused]);

  const start = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (starting) return;
    setProblem(name.trim() === '' ? MISSING : '');
    if (name.trim() === '') return field.current?.focus();
    setStarting(true);
    try {
      await onStart(name.trim());
    } catch (error) {
      setProblem(sentenceOf(error));
      setStarting(false);
    }
  };

  return (
    <form className="name-form" noValidate onSubmit={(event) => void start(event)}>
      <label htmlFor={id}>Enter your name to start chat</label>
      <div className="field-row">
        <input
          id={id}
          ref={field}
          name="name"
          autoComplete="given-name"
          dir="auto"
          value={name}
          aria-invalid={problem !== '' || undefined}
          aria-describedby={`${id}-error`}
          onChange={(event) => setName(event.target.value)}
        />
        <button type="submit" className="send" aria-disabled={starting}>{starting ? 'Starting…' : button}</button>
      </div>
      <p id={`${id}-error`} role="alert" className="error">{problem}</p>
    </form>
  );
}
