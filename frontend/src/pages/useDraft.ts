// The draft of one conversation, which survives a reload, or the message that is being edited.
import { useCallback, useState } from 'react';
import { keepDraft, readDraft } from '../browser/drafts';

interface Draft {
  /** What is in the composer. */
  draft: string;
  /** Id of the message that is being edited, or null. */
  editing: string | null;
  setDraft: (draft: string) => void;
  /** Puts text before the current draft. */
  giveBack: (text: string) => void;
  /** Puts a sent message into the composer. The draft comes back afterwards. */
  startEditing: (id: string, text: string) => void;
  endEditing: () => void;
}

export function useDraft(token: string): Draft {
  const [draft, show] = useState(() => readDraft(token));
  const [edit, setEdit] = useState<{ id: string; text: string } | null>(null);
  const isEditing = edit !== null;
  const setDraft = useCallback(
    (next: string) => {
      if (isEditing) return setEdit((before) => before && { ...before, text: next });
      show(next);
      keepDraft(token, next);
    },
    [token, isEditing],
  );
  const giveBack = useCallback(
    (text: string) => {
      const next = [text, readDraft(token)].filter(Boolean).join('\n');
      setEdit(null);
      show(next);
      keepDraft(token, next);
    },
    [token],
  );
  const startEditing = useCallback((id: string, text: string) => setEdit({ id, text }), []);
  const endEditing = useCallback(() => setEdit(null), []);
  return { draft: edit?.text ?? draft, editing: edit?.id ?? null, setDraft, giveBack, startEditing, endEditing };
}
