// The text box for messages. Typing is never disabled.
import { useEffect, useRef, type FormEvent, type KeyboardEvent, type RefObject } from 'react';
import { isTouch } from '../browser/touch';

interface Props {
  draft: string;
  limit: number;
  /** A reply is being written or is waiting. */
  busy: boolean;
  stopping: boolean;
  /** A sent message is being edited. */
  editing: boolean;
  field: RefObject<HTMLTextAreaElement>;
  onDraft: (draft: string) => void;
  onSend: (text: string) => void;
  onStop: () => void;
  onEditLast: () => void;
  onCancelEdit: () => void;
}

const NAME = 'Send a Message';

const KEYS = 'Enter sends. Shift+Enter breaks the line. Escape stops the reply. Arrow up edits your last message.';

/** Some browsers report keys of an active input method only by this key code. */
const COMPOSING_KEY = 229;

/** The counter is shown when this many characters or fewer are left. */
const NEAR_LIMIT = 200;

export function Composer(props: Props) {
  const { draft, limit, busy, stopping, editing, field, onDraft, onSend, onStop, onEditLast, onCancelEdit } = props;
  const form = useRef<HTMLFormElement>(null);
  const over = lengthOf(draft) - limit;
  useEffect(() => {
    if (!isTouch()) field.current?.focus({ preventScroll: true });
  }, [field]);

  const send = (event: FormEvent) => {
    event.preventDefault();
    if (draft.trim() !== '' && over <= 0) onSend(draft);
    if (!isTouch()) field.current?.focus({ preventScroll: true });
  };
  const cancelEdit = () => {
    onCancelEdit();
    field.current?.focus({ preventScroll: true });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (isComposing(event)) return;
    if (event.key === 'Escape' && editing) return cancelEdit();
    if (event.key === 'Escape' && busy) return onStop();
    if (event.key === 'ArrowUp' && draft === '') {
      event.preventDefault();
      return onEditLast();
    }
    if (event.key !== 'Enter' || event.shiftKey || isTouch()) return;
    event.preventDefault();
    form.current?.requestSubmit();
  };

  return (
    <form className="composer" ref={form} onSubmit={send}>
      <label className="visually-hidden" htmlFor="message">{NAME}</label>
      <p id="message-keys" className="visually-hidden">{KEYS}</p>
      {editing && (
        <div className="editing">
          <span>Editing. The reply will be replaced.</span>
          <button type="button" className="quiet" onClick={cancelEdit}>Cancel</button>
        </div>
      )}
      {/* The same text lies unseen behind the field and gives it its height. */}
      <div className="field" data-text={draft}>
        <textarea
          id="message"
          ref={field}
          rows={1}
          dir="auto"
          value={draft}
          placeholder={NAME}
          enterKeyHint={isTouch() ? 'enter' : 'send'}
          aria-describedby={over > -NEAR_LIMIT ? 'message-length message-keys' : 'message-keys'}
          aria-invalid={over > 0 || undefined}
          onChange={(event) => onDraft(event.target.value)}
          onKeyDown={onKeyDown}
        />
      </div>
      <div className="buttons">
        {busy && (
          <button type="button" className="stop" aria-disabled={stopping} onClick={onStop}>
            <span aria-hidden="true" className="stop-icon" />
            <span className="word">Stop</span>
          </button>
        )}
        <button type="submit" className="send" aria-disabled={draft.trim() === '' || over > 0}>Send</button>
      </div>
      {over > -NEAR_LIMIT && (
        <p id="message-length" className="length" data-over={over > 0 || undefined}>
          {over > 0 ? `${characters(over)} over the limit of ${limit.toLocaleString('en')}.` : `${characters(-over)} left.`}
        </p>
      )}
    </form>
  );
}

const characters = (count: number) => `${count} ${count === 1 ? 'character' : 'characters'}`;

/** Counts code points, as the server does. */
const lengthOf = (text: string) => (text.length < 1000 ? text.length : Array.from(text).length);

const isComposing = ({ nativeEvent }: KeyboardEvent) =>
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- there is no other sign of it in Safari
  nativeEvent.isComposing || nativeEvent.keyCode === COMPOSING_KEY;
