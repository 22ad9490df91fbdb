// Shown for a conversation that does not exist: expired, deleted, or never created. Unsent text is kept.
import { useEffect, useRef, useState } from 'react';
import { keepDraft, readDraft } from '../browser/drafts';
import { startSession } from '../browser/http';
import { navigate, pathOfChat } from '../browser/navigation';
import { readRecents } from '../browser/recents';
import { browserStorage } from '../browser/storage';
import { CopyButton } from '../components/CopyButton';
import { ConnectionBar } from '../components/ConnectionBar';
import { NameForm } from '../components/NameForm';
import { PageLink } from '../components/PageLink';
import type { OutboxEntry } from '../conversation/exchanges';
import { forgetConversation } from './forgetConversation';

interface Props {
  token: string;
  /** The person's name, as far as this page knew it. */
  name: string;
  /** What the person sent and the server never accepted. */
  unsent: readonly OutboxEntry[];
}

export function GonePage({ token, name: known, unsent: given }: Props) {
  // After a reload only the list knows it; after a deletion in another tab only the page.
  const [name] = useState(
    () => known || (readRecents(browserStorage).find((recent) => recent.token === token)?.name ?? ''),
  );
  const [unsent] = useState(given);
  const [kept] = useState(() => wordsOf(unsent, readDraft(token)));
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // The chat disappears without an action of the person, so the focus moves to the explanation.
    heading.current?.focus();
    document.title = 'This conversation is over – Parley';
  }, []);
  const start = async (newName: string) => {
    const session = await startSession(newName);
    keepDraft(session.token, kept);
    forgetConversation(token);
    navigate(pathOfChat(session.token));
  };
  return (
    <>
      <ConnectionBar state="cut" />
      <main className="home gone">
        <h1 ref={heading} tabIndex={-1}>This conversation is over.</h1>
        <p className="lead">It has expired or was deleted, or the link is wrong.</p>
        {kept !== '' && (
          <section className="unsent-text" aria-label="What you had not sent">
            <p className="hint">This was not sent. It will be in the new chat:</p>
            <blockquote dir="auto">{kept}</blockquote>
            <CopyButton text={kept} label="Copy what was not sent" />
          </section>
        )}
        <NameForm name={name} button="Start a new chat" onStart={start} />
        <p><PageLink to="/">All conversations</PageLink></p>
      </main>
    </>
  );
}

const wordsOf = (unsent: readonly OutboxEntry[], draft: string): string =>
  [...unsent.map(({ text }) => text), draft].filter((text) => text !== '').join('\n\n');
