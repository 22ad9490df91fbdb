// Connects an open conversation to React.
import { createContext, useContext, useEffect, useState, useSyncExternalStore } from 'react';
import { oncePerFrame } from './browser/animationFrame';
import { isUp } from './browser/http';
import { newId } from './browser/ids';
import { openSocket } from './browser/socket';
import { browserStorage } from './browser/storage';
import { bindLifecycle } from './browser/lifecycle';
import { ConversationStore, type UiState } from './store';

export interface OpenConversation {
  uiState: UiState;
  store: ConversationStore;
}

/** Keeps the conversation open while the component is mounted. Use the token as the component's key. */
export function useConversation(token: string): OpenConversation {
  const [store] = useState(() => openStore(token));
  const uiState = useSyncExternalStore(store.subscribe, store.getUiState);
  useEffect(() => {
    store.start();
    const stopListening = bindLifecycle(store.connection);
    return () => {
      stopListening();
      store.stop();
    };
  }, [store]);
  return { uiState, store };
}

const openStore = (token: string): ConversationStore =>
  new ConversationStore({
    token,
    storage: browserStorage,
    newId,
    isUp,
    throttle: oncePerFrame,
    makeSocket: (after) => openSocket(token, after),
  });

type TextSource = Pick<ConversationStore, 'subscribe' | 'getStreamingText'>;

/** Gives a streaming reply its text, so that nothing else renders when the text grows. */
export const StreamingTextContext = createContext<TextSource>({ subscribe: () => () => undefined, getStreamingText: () => '' });

const never = () => () => undefined;
const none = () => '';

/** The text of the streaming reply; for other replies (`live` false) an empty string that never changes. */
export function useStreamingText(live: boolean): string {
  const text = useContext(StreamingTextContext);
  return useSyncExternalStore(live ? text.subscribe : never, live ? text.getStreamingText : none);
}
