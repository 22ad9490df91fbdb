// The actions of the menu.
import { useMemo } from 'react';
import { download } from '../browser/download';
import { sentenceOf, startSession } from '../browser/http';
import { navigate, pathOfChat } from '../browser/navigation';
import type { MenuActions } from '../components/Menu';
import { asJson, asMarkdown } from '../conversation/exports';
import type { ConversationStore } from '../store';
import { deleteConversation } from './deleteConversation';

/** `isEmpty`: nothing was said here yet, so this is the new conversation. `onStay`: it was asked for all the same. */
export function useConversationActions(
  token: string,
  store: ConversationStore,
  isEmpty: boolean,
  onStay: () => void,
): MenuActions {
  return useMemo(() => {
    const trying = (act: () => Promise<void>) => () => {
      act().catch((error: unknown) => store.notify(sentenceOf(error)));
    };
    const start = trying(async () => navigate(pathOfChat((await startSession(store.getUiState().view.name)).token)));
    return {
      onNew: isEmpty ? onStay : start,
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
  }, [token, store, isEmpty, onStay]);
}
