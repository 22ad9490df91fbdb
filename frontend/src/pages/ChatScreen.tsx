// The conversation: what was said, and where to say more.
import { useMemo, useRef, useState } from 'react';
import { Announcer } from '../components/Announcer';
import { Banner } from '../components/Banner';
import { Caution } from '../components/Caution';
import { ChatHeader } from '../components/ChatHeader';
import { Composer } from '../components/Composer';
import { JumpToEnd } from '../components/JumpToEnd';
import { Line } from '../components/Line';
import { Transcript } from '../components/Transcript';
import { useFollow } from '../components/useFollow';
import { Welcome } from '../components/Welcome';
import { exchanges, inProgress } from '../conversation/exchanges';
import type { ConversationStore, Shown } from '../store';
import { WordsContext } from '../useConversation';
import { useDraft } from './useDraft';
import { useHeight } from './useHeight';
import { useLine } from './useLine';
import { useOnline } from './useOnline';
import { useTitle } from './useTitle';
import { useUnseen } from './useUnseen';
import { useWholeActions } from './useWholeActions';

interface Props {
  token: string;
  shown: Shown;
  store: ConversationStore;
}

export function ChatScreen({ token, shown, store }: Props) {
  const { view, outbox, link, stopping, asked } = shown;
  const all = useMemo(() => exchanges(view, asked, outbox.entries), [view, asked, outbox.entries]);
  const running = inProgress(all);
  const { draft, setDraft, giveBack } = useDraft(token);
  const { atEnd, toEnd } = useFollow(all.length > 0);
  const unseen = useUnseen(view.messages.length, atEnd);
  const [anchor, setAnchor] = useState<string | null>(null);
  const whole = useWholeActions(token, store);
  const field = useRef<HTMLTextAreaElement>(null);
  const head = useRef<HTMLElement>(null);
  const dock = useRef<HTMLDivElement>(null);
  useHeight(head, '--head');
  useHeight(dock, '--dock');
  useTitle(view);

  const actions = useMemo(
    () => ({
      onRetry: (to: string) => {
        store.retryReply(to);
        setAnchor(to);
        toEnd(false);
      },
      onAgain: (id: string) => store.sendAgain(id),
      onTakeBack: ({ id, text }: { id: string; text: string }) => {
        store.takeBack(id);
        giveBack(text);
        field.current?.focus();
      },
    }),
    [store, toEnd, giveBack],
  );

  const send = (text: string) => {
    const id = store.send(text);
    // With a reply in progress its words stay in sight; otherwise the message goes up and its reply grows below.
    setAnchor(running ? null : id);
    setDraft('');
    toEnd(false);
  };
  const notice = whole.trouble ?? shown.notice;

  return (
    <WordsContext.Provider value={store}>
      <header className="head" ref={head}>
        <Line state={useLine(link)} />
        <ChatHeader name={view.name} sessionStart={view.sessionStart} model={view.model} {...whole.actions} />
        <Banner link={link} online={useOnline()} onConnect={() => store.connection.connectNow()} />
      </header>
      <main>
        <div className="chat">
          {view.phase === 'loading' && all.length === 0 && <p className="opening patient">Opening the conversation…</p>}
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
          {!atEnd && <JumpToEnd unseen={unseen} onJump={() => toEnd(true)} />}
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
          <Caution />
        </div>
      </main>
      <Announcer view={view} />
    </WordsContext.Provider>
  );
}
