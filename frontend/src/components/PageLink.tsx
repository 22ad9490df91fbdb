// A link to another page of this app, without loading the document again.
import type { MouseEvent, ReactNode } from 'react';
import { navigate } from '../browser/navigation';

interface Props {
  to: string;
  className?: string;
  /** Its name for assistive technology, if that is more than its text. */
  label?: string;
  children: ReactNode;
}

export function PageLink({ to, className, label, children }: Props) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(to);
  };
  return <a href={to} className={className} aria-label={label} onClick={follow}>{children}</a>;
}
