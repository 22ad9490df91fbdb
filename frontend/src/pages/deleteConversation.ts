// Deletes a conversation for everyone, and everything that this browser stores of it.
import { deleteSession } from '../browser/http';
import { forgetConversation } from './forgetConversation';

/** @throws CallFailed; nothing is deleted then. */
export async function deleteConversation(token: string): Promise<void> {
  await deleteSession(token);
  forgetConversation(token);
}
