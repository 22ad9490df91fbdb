// The menu of the conversation.
import { useEffect, useRef, useState } from 'react';
import { copyText } from '../browser/copy';

export interface MenuActions {
  onNew: () => void;
  onExport: (format: 'markdown' | 'json') => void;
  onDelete: () => void;
}

export function Menu({ onNew, onExport, onDelete }: MenuActions) {
  const [open, setOpen] = useState(false);
  const place = useRef<HTMLDivElement>(null);
  const opener = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    const onPress = (event: PointerEvent) => {
      if (!place.current?.contains(event.target as Node)) setOpen(false);
    };
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      setOpen(false);
      opener.current?.focus();
    };
    document.addEventListener('pointerdown', onPress);
    document.addEventListener('keydown', onKey);
    return () => {
      document.removeEventListener('pointerdown', onPress);
      document.removeEventListener('keydown', onKey);
    };
  }, [open]);
  const closing = (act: () => void) => () => {
    setOpen(false);
    act();
  };
  return (
    <div className="menu" ref={place}>
      <button type="button" ref={opener} className="compact" aria-expanded={open} aria-controls="conversation-menu" onClick={() => setOpen(!open)}>
        Menu
      </button>
      <div id="conversation-menu" className="menu-items" hidden={!open}>
        <button type="button" onClick={closing(onNew)}>New conversation</button>
        <LinkCopier />
        <button type="button" onClick={closing(() => onExport('markdown'))}>Export as Markdown</button>
        <button type="button" onClick={closing(() => onExport('json'))}>Export as JSON</button>
        <Deleter key={String(open)} onDelete={closing(onDelete)} />
      </div>
    </div>
  );
}

/** How long the answer to "Copy link" stays. */
const SHOWN_MS = 2_000;

function LinkCopier() {
  const [said, setSaid] = useState('');
  useEffect(() => {
    const timer = setTimeout(() => setSaid(''), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = async () => {
    setSaid((await copyText(location.href)) ? 'Copied. ' : 'The browser did not allow copying. ');
  };
  return (
    <>
      <button type="button" aria-describedby="link-means" onClick={() => void copy()}>Copy link</button>
      <p id="link-means" className="hint">
        <strong role="status">{said}</strong>
        <span>Whoever has this link can read and write here.</span>
      </p>
    </>
  );
}

function Deleter({ onDelete }: { onDelete: () => void }) {
  const [asked, setAsked] = useState<'never' | 'now' | 'before'>('never');
  if (asked !== 'now') {
    return (
      <button type="button" className="danger" autoFocus={asked === 'before'} onClick={() => setAsked('now')}>
        Delete conversation
      </button>
    );
  }
  return (
    <div className="confirm" role="group" aria-label="Delete for everyone?">
      <p>Delete for everyone? This cannot be undone.</p>
      <button type="button" autoFocus onClick={() => setAsked('before')}>Cancel</button>
      <button type="button" className="danger" onClick={onDelete}>Delete</button>
    </div>
  );
}
