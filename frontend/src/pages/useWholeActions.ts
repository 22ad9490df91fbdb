// What the menu does with the conversation as a whole.
import { useMemo, useState } from 'react';
import { download } from '../browser/download';
import { sentenceOf, startSession } from '../browser/http';
import { navigate, pathOfChat } from '../browser/navigation';
import type { ConversationActions } from '../components/Menu';
import { asJson, asMarkdown } from '../conversation/exports';
import type { ConversationStore } from '../store';
import { deleteConversation } from './deleteConversation';

export interface WholeActions {
  actions: ConversationActions;
  /** A sentence about what did not work. */
  trouble: string | null;
}

export function useWholeActions(token: string, store: ConversationStore): WholeActions {
  const [trouble, setTrouble] = useState<string | null>(null);
  const actions = useMemo(() => {
    const trying = (act: () => Promise<void>) => () => {
      setTrouble(null);
      act().catch((error: unknown) => setTrouble(sentenceOf(error)));
    };
    return {
      onNew: trying(async () => navigate(pathOfChat((await startSession(store.getShown().view.name)).token))),
      onDelete: trying(async () => {
        await deleteConversation(token);
        navigate('/');
      }),
      onExport: (format: 'markdown' | 'json') => {
        const { view } = store.getShown();
        if (format === 'json') download('parley.json', 'application/json', asJson(view));
        else download('parley.md', 'text/markdown', asMarkdown(view));
      },
    };
  }, [token, store]);
  return { actions, trouble };
}
