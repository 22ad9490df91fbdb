// Keeps what the person reads where it is when older messages are inserted above it. Some browsers do so by themselves,
// but not at the top of the page and not right after a jump.
import { Component, type ReactNode, type RefObject } from 'react';

interface Props {
  /** Id of the first message that is rendered. */
  first: string | undefined;
  list: RefObject<HTMLElement>;
  children: ReactNode;
}

interface Place {
  element: Element;
  top: number;
}

/** At the end of the page, the page follows its end instead. */
const isAtEnd = () => {
  const { scrollHeight, clientHeight } = document.documentElement;
  return scrollHeight - clientHeight - window.scrollY <= 3;
};

export class KeepPlace extends Component<Props> {
  override getSnapshotBeforeUpdate(before: Props): Place | null {
    const element = this.props.list.current?.querySelector('.exchange');
    if (!element || before.first === this.props.first || isAtEnd()) return null;
    return { element, top: element.getBoundingClientRect().top };
  }

  override componentDidUpdate(_props: Props, _state: unknown, place: Place | null): void {
    if (!place?.element.isConnected) return;
    const moved = place.element.getBoundingClientRect().top - place.top;
    if (moved !== 0) window.scrollBy({ top: moved, behavior: 'instant' });
  }

  override render(): ReactNode {
    return this.props.children;
  }
}
