// Which addresses a model's words may link to.

const ALLOWED = ['http:', 'https:', 'mailto:'];

/** The address, or null for anything but a whole web or mail address. */
export function safeAddress(href: string): string | null {
  try {
    const { protocol } = new URL(href);
    return ALLOWED.includes(protocol) ? href : null;
  } catch {
    return null;
  }
}
