// The first page: asks for a name and lists recent conversations.
import { useEffect, useState } from 'react';
import { startSession } from '../browser/http';
import { navigate, pathOfChat } from '../browser/navigation';
import { forget, readRecents } from '../browser/recents';
import { browserStorage } from '../browser/storage';
import { Disclaimer } from '../components/Disclaimer';
import { ConnectionBar } from '../components/ConnectionBar';
import { NameForm } from '../components/NameForm';
import { RecentList } from '../components/RecentList';
import { deleteConversation } from './deleteConversation';

export function HomePage() {
  const [recents, setRecents] = useState(() => readRecents(browserStorage));
  const [name] = useState(() => recents[0]?.name ?? '');
  useEffect(() => {
    document.title = 'Parley: talk with GPT-J';
  }, []);
  const start = async (name: string) => navigate(pathOfChat((await startSession(name)).token));
  const drop = (token: string) => setRecents(forget(browserStorage, token));
  const remove = async (token: string) => {
    await deleteConversation(token);
    setRecents(readRecents(browserStorage));
  };
  return (
    <>
      <ConnectionBar state="rest" />
      <main className="home">
        <h1 className="wordmark" translate="no">Parley</h1>
        <p className="lead">
          A conversation with the language model GPT-J, built with React, FastAPI, Dramatiq and Redis so that no
          dropped connection costs a word.
        </p>
        <NameForm name={name} button="Start chat" focused onStart={start} />
        <Disclaimer />
        <RecentList recents={recents} onForget={drop} onDelete={remove} />
      </main>
    </>
  );
}
