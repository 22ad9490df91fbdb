// Deleting a conversation: for everyone, and with all that this browser keeps of it.
import { keepDraft } from '../browser/drafts';
import { deleteSession } from '../browser/http';
import { forget } from '../browser/recents';
import { browserStorage } from '../browser/storage';
import { dropEntry, readEntries } from '../outbox/entries';

/** @throws CallFailed, and keeps everything then. */
export async function deleteConversation(token: string): Promise<void> {
  await deleteSession(token);
  for (const { id } of readEntries(browserStorage, token)) dropEntry(browserStorage, token, id);
  keepDraft(browserStorage, token, '');
  forget(browserStorage, token);
}
