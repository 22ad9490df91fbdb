// Opens a conversation and shows it, or says that it is over.
import { useEffect } from 'react';
import { dropLastSeen } from '../browser/lastSeen';
import { browserStorage } from '../browser/storage';
import { useConversation } from '../useConversation';
import { ChatScreen } from './ChatScreen';
import { GonePage } from './GonePage';
import { useLastSeen } from './useLastSeen';
import { useRecordRecent } from './useRecordRecent';

/** Use the token as key: another token is another conversation. */
export function ChatPage({ token }: { token: string }) {
  const { uiState, store } = useConversation(token);
  useRecordRecent(token, uiState.view);
  const { link, view } = uiState;
  const gone = view.phase === 'deleted' || (link.state === 'refused' && link.why === 'gone');
  const lastSeen = useLastSeen(token, view);
  // The person is told at once that the conversation is over; a copy of it must not stay behind.
  useEffect(() => {
    if (gone) dropLastSeen(browserStorage, token);
  }, [gone, token]);
  if (gone) return <GonePage token={token} name={view.name} unsent={store.unsent} />;
  return <ChatScreen token={token} uiState={uiState} lastSeen={lastSeen} store={store} />;
}
