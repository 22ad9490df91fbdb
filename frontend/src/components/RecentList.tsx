// The list of conversations that were opened in this browser.
import { useState } from 'react';
import { pathOfChat } from '../browser/navigation';
import type { Recent } from '../browser/recents';
import { sentenceOf } from '../browser/http';
import { TimeAgo } from './TimeAgo';
import { PageLink } from './PageLink';

interface Props {
  recents: readonly Recent[];
  onForget: (token: string) => void;
  /** Rejects with an error whose message is shown to the person. */
  onDelete: (token: string) => Promise<void>;
}

export function RecentList({ recents, onForget, onDelete }: Props) {
  if (recents.length === 0) return null;
  return (
    <section className="recents" aria-labelledby="recents">
      <h2 id="recents">Recent conversations</h2>
      <p className="hint">Listed in this browser only.</p>
      <ul>
        {recents.map((recent) => (
          <RecentItem key={recent.token} recent={recent} onForget={onForget} onDelete={onDelete} />
        ))}
      </ul>
    </section>
  );
}

function RecentItem({ recent, onForget, onDelete }: Omit<Props, 'recents'> & { recent: Recent }) {
  const [asked, setAsked] = useState<'never' | 'now' | 'before'>('never');
  const [problem, setProblem] = useState('');
  const title = recent.about || 'Nothing said yet';
  const remove = () => onDelete(recent.token).catch((error: unknown) => setProblem(sentenceOf(error)));
  return (
    <li>
      <PageLink to={pathOfChat(recent.token)} className="recent">
        <span className="about" dir="auto">{title}</span>
        <span className="when"><span>{`${recent.name}, `}</span><TimeAgo timestamp={recent.at} /></span>
      </PageLink>
      {asked === 'now' ? (
        <div className="choices" role="group" aria-label={`Remove “${title}”`}>
          <button type="button" className="quiet" onClick={() => onForget(recent.token)}>
            Remove from this list
          </button>
          <button type="button" className="quiet danger" onClick={() => void remove()}>Delete for everyone</button>
          <button type="button" className="quiet" autoFocus onClick={() => setAsked('before')}>Cancel</button>
        </div>
      ) : (
        <button
          type="button"
          className="quiet"
          aria-label={`Remove “${title}”`}
          autoFocus={asked === 'before'}
          onClick={() => setAsked('now')}
        >
          Remove
        </button>
      )}
      <p role="alert" className="error">{problem}</p>
    </li>
  );
}
