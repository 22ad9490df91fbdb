// Which addresses a reply may link to.

const ALLOWED = ['http:', 'https:', 'mailto:'];

/** The address if it is an absolute web or mail address, otherwise null. */
export function safeAddress(href: string): string | null {
  try {
    const { protocol } = new URL(href);
    return ALLOWED.includes(protocol) ? href : null;
  } catch {
    return null;
  }
}
