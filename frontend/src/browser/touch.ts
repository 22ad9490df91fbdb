// Whether the main pointer is a finger. Then Enter breaks the line, and focus opens the on-screen keyboard.

export const isTouch = (): boolean => window.matchMedia('(pointer: coarse)').matches;
