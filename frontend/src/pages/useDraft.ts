// The draft of one conversation. It survives a reload.
import { useCallback, useState } from 'react';
import { keepDraft, readDraft } from '../browser/drafts';

interface Draft {
  draft: string;
  setDraft: (draft: string) => void;
  /** Puts text before the current draft. */
  giveBack: (words: string) => void;
}

export function useDraft(token: string): Draft {
  const [draft, show] = useState(() => readDraft(token));
  const setDraft = useCallback(
    (next: string) => {
      show(next);
      keepDraft(token, next);
    },
    [token],
  );
  const giveBack = useCallback(
    (words: string) => setDraft([words, readDraft(token)].filter(Boolean).join('\n')),
    [token, setDraft],
  );
  return { draft, setDraft, giveBack };
}
