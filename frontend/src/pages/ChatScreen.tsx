// The chat: transcript and composer.
import { useCallback, useMemo, useRef, useState } from 'react';
import { isTouch } from '../browser/touch';
import { Announcer } from '../components/Announcer';
import { Banner } from '../components/Banner';
import { ChatHeader } from '../components/ChatHeader';
import { Composer } from '../components/Composer';
import { ConnectionBar } from '../components/ConnectionBar';
import { Disclaimer } from '../components/Disclaimer';
import { Notice } from '../components/Notice';
import { ScrollToEnd } from '../components/ScrollToEnd';
import { TimeAgo } from '../components/TimeAgo';
import { Transcript } from '../components/Transcript';
import { useStickToBottom } from '../components/useStickToBottom';
import { Welcome } from '../components/Welcome';
import { exchanges, inProgress } from '../conversation/exchanges';
import type { LastSeen } from '../browser/lastSeen';
import type { ConversationStore, UiState } from '../store';
import { StreamingTextContext } from '../useConversation';
import { useConnectionBar } from './useConnectionBar';
import { useConversationActions } from './useConversationActions';
import { useDraft } from './useDraft';
import { useHeightVariable } from './useHeightVariable';
import { useOnline } from './useOnline';
import { useTitle } from './useTitle';
import { useUnseenCount } from './useUnseenCount';

interface Props {
  token: string;
  uiState: UiState;
  /** What was last seen, while the page has not reached the server. */
  lastSeen: LastSeen | null;
  store: ConversationStore;
}

export function ChatScreen({ token, uiState, lastSeen, store }: Props) {
  const { outbox, link, stopping, pendingRetry } = uiState;
  const bar = useConnectionBar(link);
  // Only where the server really cannot be reached: otherwise its own state is there in a moment.
  const stale = bar === 'down' ? lastSeen : null;
  const view = useMemo(() => (stale ? { ...uiState.view, ...stale } : uiState.view), [uiState.view, stale]);
  const all = useMemo(() => exchanges(view, pendingRetry, outbox.entries), [view, pendingRetry, outbox.entries]);
  const running = inProgress(all);
  const isEmpty = all.length === 0;
  const { draft, editing, setDraft, giveBack, startEditing, endEditing } = useDraft(token);
  const { atEnd, toEnd } = useStickToBottom(!isEmpty);
  const unseen = useUnseenCount(view.messages, atEnd);
  const [anchor, setAnchor] = useState<string | null>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const log = useRef<HTMLDivElement>(null);
  const header = useRef<HTMLElement>(null);
  const dock = useRef<HTMLDivElement>(null);
  const disclaimer = useRef<HTMLDivElement>(null);
  useHeightVariable(header, '--header-height');
  useHeightVariable(dock, '--dock-height');
  useHeightVariable(disclaimer, '--disclaimer-height');
  useTitle(view);

  /** After a button that disappears: on touch, focus in the field would open the keyboard. */
  const restoreFocus = useCallback(() => (isTouch() ? log : field).current?.focus({ preventScroll: true }), []);
  const menu = useConversationActions(token, store, isEmpty, restoreFocus);

  const actions = useMemo(() => {
    const answerAgain = (to: string, type: 'reply.retry' | 'reply.continue') => {
      store.retryReply(to, type);
      setAnchor(to);
      toEnd(false);
      restoreFocus();
    };
    return {
      onRetry: (to: string) => answerAgain(to, 'reply.retry'),
      onContinue: (to: string) => answerAgain(to, 'reply.continue'),
      onEdit: ({ id, text }: { id: string; text: string }) => {
        startEditing(id, text);
        field.current?.focus();
      },
      onResend: (id: string) => {
        store.resend(id);
        restoreFocus();
      },
      onEditUnsent: ({ id, text, replaces }: { id: string; text: string; replaces?: string | undefined }) => {
        store.withdraw(id);
        if (replaces === undefined) giveBack(text);
        else startEditing(replaces, text);
        field.current?.focus();
      },
    };
  }, [store, toEnd, giveBack, startEditing, restoreFocus]);

  const last = all.at(-1);
  const canEditLast = link.state === 'open' && !running && last && !last.unsent;

  const send = (text: string) => {
    const id = editing === null ? store.send(text) : store.edit(editing, text);
    // A reply in progress stays visible. Otherwise the new message moves to the top and its reply grows below it.
    setAnchor(running ? null : id);
    if (editing === null) setDraft('');
    else endEditing();
    toEnd(false);
  };
  const stop = () => {
    if (running) store.stopReply(running.to);
    restoreFocus();
  };

  return (
    <StreamingTextContext.Provider value={store}>
      <header className="header" ref={header}>
        <ConnectionBar state={bar} />
        <ChatHeader name={view.name} sessionStart={view.sessionStart} model={view.model} {...menu} />
        <Banner link={link} online={useOnline()} onConnect={() => store.connection.connectNow()} />
      </header>
      <main>
        <div className="chat">
          {view.phase === 'loading' && isEmpty && <p className="opening delayed">Opening the conversation…</p>}
          {view.phase === 'ready' && isEmpty && (
            <Welcome
              onChoose={(opener) => {
                setDraft(opener);
                field.current?.focus();
              }}
            />
          )}
          {stale && <p className="stale"><span>As last seen </span><TimeAgo timestamp={stale.at} /></p>}
          <Transcript
            all={all}
            earlier={view.earlier}
            loadingEarlier={uiState.loadingEarlier}
            outbox={outbox}
            open={link.state === 'open'}
            service={view.service}
            ahead={view.ahead}
            stopping={stopping}
            anchor={anchor}
            actions={actions}
            log={log}
            onLoadEarlier={store.loadEarlier}
          />
        </div>
        <div className="dock" ref={dock}>
          {!atEnd && <ScrollToEnd unseen={unseen} onJump={() => toEnd(true)} />}
          <Notice text={uiState.notice} onDismiss={store.dismissNotice} />
          <Composer
            draft={draft}
            limit={view.limit}
            busy={running !== null}
            stopping={stopping !== null && stopping === running?.to}
            editing={editing !== null}
            field={field}
            onDraft={setDraft}
            onSend={send}
            onStop={stop}
            onEditLast={() => canEditLast && actions.onEdit(last.human)}
            onCancelEdit={endEditing}
          />
          <div ref={disclaimer}><Disclaimer /></div>
        </div>
      </main>
      <Announcer view={view} />
    </StreamingTextContext.Provider>
  );
}
