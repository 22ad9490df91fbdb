// Who talks with whom, since when.
import { memo } from 'react';
import type { ModelInfo } from '../protocol/frames';
import { Ago } from './Ago';
import { Menu, type ConversationActions } from './Menu';

interface Props extends ConversationActions {
  name: string;
  sessionStart: string;
  model: ModelInfo;
}

export const ChatHeader = memo(function ChatHeader({ name, sessionStart, model, ...actions }: Props) {
  return (
    <div className="chat-header">
      <div className="who">
        <h1 dir="auto">{name === '' ? 'Parley' : `Welcome ${name}`}</h1>
        {sessionStart !== '' && (
          <p className="about">
            <span>Began <Ago timestamp={sessionStart} /></span>
            {model.stand_in ? (
              <span className="mark" title="No model is configured; a small stand-in answers in its place.">stand-in model</span>
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
