// The chat: transcript and composer.
import { useMemo, useRef, useState } from 'react';
import { Announcer } from '../components/Announcer';
import { Banner } from '../components/Banner';
import { Disclaimer } from '../components/Disclaimer';
import { ChatHeader } from '../components/ChatHeader';
import { Composer } from '../components/Composer';
import { ScrollToEnd } from '../components/ScrollToEnd';
import { ConnectionBar } from '../components/ConnectionBar';
import { Transcript } from '../components/Transcript';
import { useStickToBottom } from '../components/useStickToBottom';
import { Welcome } from '../components/Welcome';
import { exchanges, inProgress } from '../conversation/exchanges';
import type { ConversationStore, UiState } from '../store';
import { StreamingTextContext } from '../useConversation';
import { useDraft } from './useDraft';
import { useHeightVariable } from './useHeightVariable';
import { useConnectionBar } from './useConnectionBar';
import { useOnline } from './useOnline';
import { useTitle } from './useTitle';
import { useUnseenCount } from './useUnseenCount';
import { useConversationActions } from './useConversationActions';

interface Props {
  token: string;
  uiState: UiState;
  store: ConversationStore;
}

export function ChatScreen({ token, uiState, store }: Props) {
  const { view, outbox, link, stopping, pendingRetry } = uiState;
  const all = useMemo(() => exchanges(view, pendingRetry, outbox.entries), [view, pendingRetry, outbox.entries]);
  const running = inProgress(all);
  const { draft, setDraft, giveBack } = useDraft(token);
  const { atEnd, toEnd } = useStickToBottom(all.length > 0);
  const unseen = useUnseenCount(view.messages.length, atEnd);
  const [anchor, setAnchor] = useState<string | null>(null);
  const menu = useConversationActions(token, store);
  const field = useRef<HTMLTextAreaElement>(null);
  const head = useRef<HTMLElement>(null);
  const dock = useRef<HTMLDivElement>(null);
  useHeightVariable(head, '--header-height');
  useHeightVariable(dock, '--dock-height');
  useTitle(view);

  const actions = useMemo(
    () => ({
      onRetry: (to: string) => {
        store.retryReply(to);
        setAnchor(to);
        toEnd(false);
      },
      onResend: (id: string) => store.resend(id),
      onEdit: ({ id, text }: { id: string; text: string }) => {
        store.withdraw(id);
        giveBack(text);
        field.current?.focus();
      },
    }),
    [store, toEnd, giveBack],
  );

  const send = (text: string) => {
    const id = store.send(text);
    // A reply in progress stays visible. Otherwise the new message moves to the top and its reply grows below it.
    setAnchor(running ? null : id);
    setDraft('');
    toEnd(false);
  };
  const notice = menu.error ?? uiState.notice;

  return (
    <StreamingTextContext.Provider value={store}>
      <header className="header" ref={head}>
        <ConnectionBar state={useConnectionBar(link)} />
        <ChatHeader name={view.name} sessionStart={view.sessionStart} model={view.model} {...menu.actions} />
        <Banner link={link} online={useOnline()} onConnect={() => store.connection.connectNow()} />
      </header>
      <main>
        <div className="chat">
          {view.phase === 'loading' && all.length === 0 && <p className="opening delayed">Opening the conversation…</p>}
          {view.phase === 'ready' && all.length === 0 && <Welcome />}
          <Transcript
            all={all}
            outbox={outbox}
            open={link.state === 'open'}
            service={view.service}
            stopping={stopping}
            anchor={anchor}
            actions={actions}
          />
        </div>
        <div className="dock" ref={dock}>
          {!atEnd && <ScrollToEnd unseen={unseen} onJump={() => toEnd(true)} />}
          {notice !== null && <p role="alert" className="notice">{notice}</p>}
          <Composer
            draft={draft}
            limit={view.limit}
            busy={running !== null}
            stopping={stopping !== null && stopping === running?.to}
            field={field}
            onDraft={setDraft}
            onSend={send}
            onStop={() => running && store.stopReply(running.to)}
          />
          <Disclaimer />
        </div>
      </main>
      <Announcer view={view} />
    </StreamingTextContext.Provider>
  );
}
