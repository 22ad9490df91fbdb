// What a browser's translator does to a page: it replaces each text node by elements of its own, again and again.

export const translated = (text: string): string => text.toUpperCase();

/** Translates what is in `root` now and whatever comes later. Returns a function that stops it. */
export function translate(root: Node): () => void {
  const replace = (node: Node): void => {
    if (node instanceof Text) {
      const { parentElement } = node;
      if (!parentElement || node.data.trim() === '' || parentElement.closest('font, textarea, script')) return;
      const wrapper = document.createElement('span');
      wrapper.innerHTML = '<font><font></font></font>';
      const [outer] = wrapper.children;
      if (!outer?.firstChild) return;
      outer.firstChild.textContent = translated(node.data);
      node.replaceWith(outer);
    } else {
      [...node.childNodes].forEach(replace);
    }
  };
  replace(root);
  const observer = new MutationObserver((records) => {
    for (const { type, target, addedNodes } of records) {
      if (type === 'characterData') replace(target);
      else addedNodes.forEach(replace);
    }
  });
  observer.observe(root, { subtree: true, childList: true, characterData: true });
  return () => observer.disconnect();
}
