// The HTTP calls: create a session, delete a session, check that the server is up.
import { shape, text } from '../protocol/shape';

export interface Session {
  token: string;
  name: string;
  session_start: string;
}

const session = shape<Session>({ token: text, name: text, session_start: text });
const refusal = shape<{ detail: string }>({ detail: text });

/** A failed call, with a message for the person. */
export class CallFailed extends Error {}

/** The text to show for anything that was thrown. */
export const sentenceOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const UNREACHABLE = 'The server cannot be reached. Check the connection and try again.';

/** @throws CallFailed with the server's own message if it sent one. */
export async function startSession(name: string): Promise<Session> {
  const response = await call(`/token?${new URLSearchParams({ name })}`, 'POST');
  const answer = await bodyOf(response);
  if (response.ok && session(answer)) return answer;
  if (response.status === 429) throw new CallFailed(tooMany(response.headers.get('Retry-After')));
  throw new CallFailed(refusal(answer) ? answer.detail : 'The server could not start a chat. Try again in a moment.');
}

/** `seconds`: the value of Retry-After. */
function tooMany(seconds: string | null): string {
  const minutes = Math.ceil(Number(seconds ?? 0) / 60);
  const wait = minutes > 45 ? 'about an hour' : minutes > 1 ? `${minutes} minutes` : 'a minute';
  return `Too many new chats from here. Try again in ${wait}.`;
}

/** Deletes the conversation for everyone. A missing conversation is no error. @throws CallFailed */
export async function deleteSession(token: string): Promise<void> {
  const response = await call(`/token?${new URLSearchParams({ token })}`, 'DELETE');
  const gone = response.ok || response.status === 400 || response.status === 404;
  if (!gone) throw new CallFailed('The server could not delete the conversation. Try again in a moment.');
}

/** Whether the server answers HTTP requests. */
export async function isUp(): Promise<boolean> {
  try {
    return (await fetch('/healthz', { cache: 'no-store' })).ok;
  } catch {
    return false;
  }
}

async function call(address: string, method: string): Promise<Response> {
  try {
    return await fetch(address, { method });
  } catch {
    throw new CallFailed(UNREACHABLE);
  }
}

async function bodyOf(response: Response): Promise<unknown> {
  try {
    return await response.json();
  } catch {
    return null;
  }
}
