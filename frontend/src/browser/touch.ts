// Whether the person writes on glass: there Enter breaks the line, and focus brings up a keyboard.

/** Asked for once: a browser keeps every list of media queries for as long as the page lives. */
const coarse = window.matchMedia('(pointer: coarse)');

export const isTouch = (): boolean => coarse.matches;
