// The header of a chat: name, start time, model and menu.
import { memo } from 'react';
import type { ModelInfo } from '../protocol/frames';
import { TimeAgo } from './TimeAgo';
import { Menu, type MenuActions } from './Menu';

interface Props extends MenuActions {
  name: string;
  sessionStart: string;
  model: ModelInfo;
}

export const ChatHeader = memo(function ChatHeader({ name, sessionStart, model, ...actions }: Props) {
  return (
    <div className="chat-header">
      <div className="title-block">
        <h1 dir="auto">{name === '' ? 'Parley' : `Welcome ${name}`}</h1>
        {sessionStart !== '' && (
          <p className="about">
            <span>Began <TimeAgo timestamp={sessionStart} /></span>
            {model.stand_in ? (
              <span className="stand-in-mark" title="No model is configured; a small stand-in answers in its place.">stand-in model</span>
            ) : (
              <span title={model.name}>{model.name.split('/').at(-1)}</span>
            )}
          </p>
        )}
      </div>
      <Menu {...actions} />
    </div>
  );
});
