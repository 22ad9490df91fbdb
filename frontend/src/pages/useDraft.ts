// The draft of one conversation, which outlives a reload.
import { useCallback, useState } from 'react';
import { keepDraft, readDraft } from '../browser/drafts';
import { browserStorage } from '../browser/storage';

interface Draft {
  draft: string;
  setDraft: (draft: string) => void;
  /** Puts words before what is being written. */
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
