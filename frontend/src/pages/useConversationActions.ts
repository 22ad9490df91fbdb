// The actions of the menu.
import { useMemo, useState } from 'react';
import { download } from '../browser/download';
import { sentenceOf, startSession } from '../browser/http';
import { navigate, pathOfChat } from '../browser/navigation';
import type { MenuActions } from '../components/Menu';
import { asJson, asMarkdown } from '../conversation/exports';
import type { ConversationStore } from '../store';
import { deleteConversation } from './deleteConversation';

export interface ConversationActions {
  actions: MenuActions;
  /** Why the last action failed. */
  error: string | null;
}

export function useConversationActions(token: string, store: ConversationStore): ConversationActions {
  const [error, setError] = useState<string | null>(null);
  const actions = useMemo(() => {
    const trying = (act: () => Promise<void>) => () => {
      setError(null);
      act().catch((reason: unknown) => setError(sentenceOf(reason)));
    };
    return {
      onNew: trying(async () => navigate(pathOfChat((await startSession(store.getUiState().view.name)).token))),
      onDelete: trying(async () => {
        await deleteConversation(token);
        navigate('/');
      }),
      onExport: (format: 'markdown' | 'json') => {
        const { view } = store.getUiState();
        if (format === 'json') download('parley.json', 'application/json', asJson(view));
        else download('parley.md', 'text/markdown', asMarkdown(view));
      },
    };
  }, [token, store]);
  return { actions, error };
}
