// Opens the WebSocket of a conversation.
import type { Socket } from '../connection/connection';
import { SUBPROTOCOL, type Cursor } from '../protocol/frames';

export function openSocket(token: string, after: Cursor | null): Socket {
  const address = new URL('/chat', location.href);
  address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  address.searchParams.set('token', token);
  if (after !== null) address.searchParams.set('after', after);
  const socket = new WebSocket(address, SUBPROTOCOL);
  const parts: Socket = {
    send: (data) => socket.send(data),
    close: (code) => socket.close(code),
    onopen: null,
    onmessage: null,
    onclose: null,
  };
  socket.onopen = () => parts.onopen?.();
  socket.onmessage = (event) => parts.onmessage?.(event);
  socket.onclose = (event) => parts.onclose?.(event);
  return parts;
}
