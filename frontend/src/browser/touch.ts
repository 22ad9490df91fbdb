// Whether the person writes on glass: there Enter breaks the line, and focus brings up a keyboard.

export const isTouch = (): boolean => window.matchMedia('(pointer: coarse)').matches;
