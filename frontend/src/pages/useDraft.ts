// The draft of one conversation. It survives a reload.
import { useCallback, useState } from 'react';
import { keepDraft, readDraft } from '../browser/drafts';
import { browserStorage } from '../browser/storage';

interface Draft {
  draft: string;
  setDraft: (draft: string) => void;
  /** Puts text before the current draft. */
  giveBack: (words: string) => void;
}

export function useDraft(token: string): Draft {
  const [draft, show] = useState(() => readDraft(browserStorage, token));
  const setDraft = useCallback(
    (next: string) => {
      show(next);
      keepDraft(browserStorage, token, next);
    },
    [token],
  );
  const giveBack = useCallback(
    (words: string) => setDraft([words, readDraft(browserStorage, token)].filter(Boolean).join('\n')),
    [token, setDraft],
  );
  return { draft, setDraft, giveBack };
}
