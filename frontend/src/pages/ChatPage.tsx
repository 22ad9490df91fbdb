// Opens a conversation and shows it, or says that it is over.
import { useConversation } from '../useConversation';
import { ChatScreen } from './ChatScreen';
import { GonePage } from './GonePage';
import { useRecordRecent } from './useRecordRecent';

/** Use the token as key: another token is another conversation. */
export function ChatPage({ token }: { token: string }) {
  const { uiState, store } = useConversation(token);
  useRecordRecent(token, uiState.view);
  const { link, view } = uiState;
  const gone = view.phase === 'deleted' || (link.state === 'refused' && link.why === 'gone');
  return gone ? <GonePage token={token} unsent={store.unsent} /> : <ChatScreen token={token} uiState={uiState} store={store} />;
}
