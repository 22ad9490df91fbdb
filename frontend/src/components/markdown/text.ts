// Text that React does not manage. A browser's translator replaces text nodes by elements of its own, and React throws
// when it updates or removes a node that is no longer there. So React renders an empty element, and this fills it.
import type { RefCallback } from 'react';

const written = new WeakMap<Element, string>();

/** A ref for an element without children that shows `text`. */
export const textRef =
  (text: string): RefCallback<HTMLElement> =>
  (element) => {
    if (element) setText(element, text);
  };

function setText(element: Element, text: string): void {
  const before = written.get(element) ?? '';
  if (before === text) return;
  written.set(element, text);
  const node = element.firstChild;
  if (node instanceof Text && element.childNodes.length === 1 && node.data === before) {
    // Only the part that differs is replaced: a selection in the rest stays.
    const common = commonPrefix(before, text);
    node.replaceData(common, before.length - common, text.slice(common));
  } else {
    element.textContent = text;
  }
}

function commonPrefix(one: string, other: string): number {
  const end = Math.min(one.length, other.length);
  let at = 0;
  while (at < end && one.charCodeAt(at) === other.charCodeAt(at)) at += 1;
  return at;
}
