// Removes everything that this browser stores of a conversation.
import { dropDraft } from '../browser/drafts';
import { dropLastSeen } from '../browser/lastSeen';
import { forget } from '../browser/recents';
import { browserStorage } from '../browser/storage';
import { dropEntry, readEntries } from '../outbox/entries';

export function forgetConversation(token: string): void {
  for (const { id } of readEntries(browserStorage, token)) dropEntry(browserStorage, token, id);
  dropDraft(token);
  dropLastSeen(browserStorage, token);
  forget(browserStorage, token);
}
