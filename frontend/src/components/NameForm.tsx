// Takes a name and starts a chat.
import { useId, useState, type FormEvent } from 'react';
import { sentenceOf } from '../browser/http';

interface Props {
  name?: string;
  button: string;
  /** Rejects with an error whose message is for the person. */
  onStart: (name: string) => Promise<void>;
}

const MISSING = 'Please enter a name first.';

export function NameForm({ name: given = '', button, onStart }: Props) {
  const id = useId();
  const [name, setName] = useState(given);
  const [trouble, setTrouble] = useState('');
  const [starting, setStarting] = useState(false);

  const start = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (starting) return;
    setTrouble(name.trim() === '' ? MISSING : '');
    if (name.trim() === '') return event.currentTarget.querySelector('input')?.focus();
    setStarting(true);
    try {
      await onStart(name.trim());
    } catch (error) {
      setTrouble(sentenceOf(error));
      setStarting(false);
    }
  };

  return (
    <form className="name-form" noValidate onSubmit={(event) => void start(event)}>
      <label htmlFor={id}>Enter your name to start chat</label>
      <div className="row">
        <input
          id={id}
          name="name"
          autoComplete="given-name"
          dir="auto"
          value={name}
          aria-invalid={trouble !== '' || undefined}
          aria-describedby={`${id}-trouble`}
          onChange={(event) => setName(event.target.value)}
        />
        <button type="submit" className="send" aria-disabled={starting}>{starting ? 'Starting…' : button}</button>
      </div>
      <p id={`${id}-trouble`} role="alert" className="trouble">{trouble}</p>
    </form>
  );
}
