// Opens a conversation, and shows either it or that it is over.
import { useConversation } from '../useConversation';
import { ChatScreen } from './ChatScreen';
import { GonePage } from './GonePage';
import { useRemembering } from './useRemembering';

/** Give it the token as key: another token is another conversation. */
export function ChatPage({ token }: { token: string }) {
  const { shown, store } = useConversation(token);
  useRemembering(token, shown.view);
  const { link, view } = shown;
  const gone = view.phase === 'deleted' || (link.state === 'refused' && link.why === 'gone');
  return gone ? <GonePage token={token} /> : <ChatScreen token={token} shown={shown} store={store} />;
}
