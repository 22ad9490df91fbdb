// The example frames that both sides of the wire are tested with.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

export interface Example {
  name: string;
  frame: Record<string, unknown> & { type: string };
}

const read = (file: string): Example[] =>
  JSON.parse(readFileSync(resolve(import.meta.dirname, '../../tests/wire', file), 'utf8')) as Example[];

export const serverExamples = read('server.json');
export const clientExamples = read('client.json');
