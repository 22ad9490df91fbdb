// Shown for an unknown address.
import { useEffect } from 'react';
import { ConnectionBar } from '../components/ConnectionBar';
import { PageLink } from '../components/PageLink';

export function UnknownPage() {
  useEffect(() => {
    document.title = 'Nothing here – Parley';
  }, []);
  return (
    <>
      <ConnectionBar state="cut" />
      <main className="home gone">
        <h1>There is no page at this address.</h1>
        <p className="lead">The link may be incomplete.</p>
        <p><PageLink to="/">Start a conversation</PageLink></p>
      </main>
    </>
  );
}
