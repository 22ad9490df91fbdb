// The one bridge between an open conversation and React.
import { createContext, useContext, useEffect, useState, useSyncExternalStore } from 'react';
import { oncePerFrame } from './browser/frames';
import { isUp } from './browser/http';
import { newId } from './browser/ids';
import { openSocket } from './browser/socket';
import { browserStorage } from './browser/storage';
import { wakeWith } from './browser/wake';
import { ConversationStore, type Shown } from './store';

export interface OpenConversation {
  shown: Shown;
  store: ConversationStore;
}

/** Opens the conversation for as long as the component stands; give the component the token as key. */
export function useConversation(token: string): OpenConversation {
  const [store] = useState(() => openStore(token));
  const shown = useSyncExternalStore(store.subscribe, store.getShown);
  useEffect(() => {
    store.start();
    const stopListening = wakeWith(store.connection);
    return () => {
      stopListening();
      store.stop();
    };
  }, [store]);
  return { shown, store };
}

const openStore = (token: string): ConversationStore =>
  new ConversationStore({
    token,
    storage: browserStorage,
    newId,
    isUp,
    paced: oncePerFrame,
    makeSocket: (after) => openSocket(token, after),
  });

type Words = Pick<ConversationStore, 'subscribe' | 'getWords'>;

/** Where a reply in progress finds its words, so that nothing else is drawn when they grow. */
export const WordsContext = createContext<Words>({ subscribe: () => () => undefined, getWords: () => '' });

const never = () => () => undefined;
const none = () => '';

/** The words of the reply in progress; for a reply that is not, it stays silent for ever. */
export function useWords(live: boolean): string {
  const words = useContext(WordsContext);
  return useSyncExternalStore(live ? words.subscribe : never, live ? words.getWords : none);
}
