// Shown for a conversation that does not exist: expired, deleted, or never created. Unsent text is kept.
import { useEffect, useRef, useState } from 'react';
import { keepDraft, readDraft } from '../browser/drafts';
import { startSession } from '../browser/http';
import { navigate, pathOfChat } from '../browser/navigation';
import { forget, readRecents } from '../browser/recents';
import { browserStorage } from '../browser/storage';
import { CopyButton } from '../components/CopyButton';
import { ConnectionBar } from '../components/ConnectionBar';
import { NameForm } from '../components/NameForm';
import { PageLink } from '../components/PageLink';
import type { OutboxEntry } from '../conversation/exchanges';
import { dropEntry, readEntries } from '../outbox/entries';

export function GonePage({ token }: { token: string }) {
  const [name] = useState(() => readRecents(browserStorage).find((recent) => recent.token === token)?.name ?? '');
  const [unsent] = useState(() => readEntries(browserStorage, token));
  const [kept] = useState(() => wordsOf(unsent, readDraft(browserStorage, token)));
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // The chat disappears without an action of the person, so the focus moves to the explanation.
    heading.current?.focus();
    document.title = 'This conversation is over – Parley';
  }, []);
  const start = async (newName: string) => {
    const session = await startSession(newName);
    keepDraft(browserStorage, session.token, kept);
    keepDraft(browserStorage, token, '');
    for (const { id } of unsent) dropEntry(browserStorage, token, id);
    forget(browserStorage, token);
    navigate(pathOfChat(session.token));
  };
  return (
    <>
      <ConnectionBar state="cut" />
      <main className="home gone">
        <h1 ref={heading} tabIndex={-1}>This conversation is over.</h1>
        <p className="lead">It has expired, was deleted, or was never here. Nobody can read it any more.</p>
        {kept !== '' && (
          <section className="unsent-text" aria-label="What you had not sent">
            <p className="hint">What you had not sent goes along into the new one:</p>
            <blockquote dir="auto">{kept}</blockquote>
            <CopyButton text={kept} label="Copy what was not sent" />
          </section>
        )}
        <NameForm name={name} button="Start anew" onStart={start} />
        <p><PageLink to="/">All conversations</PageLink></p>
      </main>
    </>
  );
}

const wordsOf = (unsent: readonly OutboxEntry[], draft: string): string =>
  [...unsent.map(({ text }) => text), draft].filter((text) => text !== '').join('\n\n');
