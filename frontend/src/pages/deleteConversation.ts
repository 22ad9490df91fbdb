// Deletes a conversation for everyone, and everything that this browser stores of it.
import { keepDraft } from '../browser/drafts';
import { deleteSession } from '../browser/http';
import { forget } from '../browser/recents';
import { browserStorage } from '../browser/storage';
import { dropEntry, readEntries } from '../outbox/entries';

/** @throws CallFailed; nothing is deleted then. */
export async function deleteConversation(token: string): Promise<void> {
  await deleteSession(token);
  for (const { id } of readEntries(browserStorage, token)) dropEntry(browserStorage, token, id);
  keepDraft(browserStorage, token, '');
  forget(browserStorage, token);
}
