// The header of a chat: name, start time, model and menu.
import { memo } from 'react';
import type { ModelInfo } from '../protocol/frames';
import { TimeAgo } from './TimeAgo';
import { Menu, type MenuActions } from './Menu';
import { PageLink } from './PageLink';

interface Props extends MenuActions {
  name: string;
  sessionStart: string;
  model: ModelInfo;
}

const STAND_IN = 'No model is configured; a small stand-in answers in its place.';

export const ChatHeader = memo(function ChatHeader({ name, sessionStart, model, ...actions }: Props) {
  return (
    <div className="chat-header">
      <PageLink to="/" className="home-link" label="Parley: all conversations"><span translate="no">Parley</span></PageLink>
      <div className="title-block">
        <h1 dir="auto">{name === '' ? 'Conversation' : `Welcome ${name}`}</h1>
        {sessionStart !== '' && (
          <p className="about">
            <span>Began <TimeAgo timestamp={sessionStart} /></span>
            {model.stand_in ? (
              <span className="stand-in-mark" title={STAND_IN}>stand-in model</span>
            ) : (
              <span title={model.name} translate="no">{model.name.split('/').at(-1)}</span>
            )}
          </p>
        )}
      </div>
      <Menu {...actions} />
    </div>
  );
});
