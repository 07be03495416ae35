/** Where the bodies of messages come from, and how they are written. */
import { createReadStream } from 'node:fs';
import { serialization } from 'wakame';
import { UsageError } from './exit-codes.js';

/** An encoded body with what it is. */
export interface Encoded {
  readonly body: Uint8Array;
  readonly contentType: string;
  readonly contentEncoding: string;
}

export interface BodyFlags {
  readonly file?: string | undefined;
  readonly lines: boolean;
}

export const SERIALIZERS = ['json', 'yaml', 'msgpack', 'text', 'raw'] as const;
export type Serializer = (typeof SERIALIZERS)[number];

/** Bytes of a body at most, as the library has it: no input is read on without end. */
const LARGEST = 128 * 1024 * 1024;

/**
 * The bodies that the command line names: the argument, a file, or standard input (`-`, or nothing at all when something is piped
 * in). Each as it stands, byte by byte, or one for each line. Throws the signal's reason when it is aborted while it waits for input.
 */
export async function* bodies(
  argument: string | undefined,
  { file, lines }: BodyFlags,
  stdin: NodeJS.ReadStream,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array> {
  if (argument !== undefined && file !== undefined) {
    throw new UsageError('a body and --file exclude each other');
  }
  if (argument !== undefined && argument !== '-') {
    if (lines) throw new UsageError('--lines reads a file or standard input, not an argument');
    yield Buffer.from(argument);
    return;
  }
  const isImplied = argument === undefined && file === undefined;
  if (isImplied && stdin.isTTY) {
    throw new UsageError("what shall be published? Give a body, --file, or '-' for standard input");
  }
  const input = file !== undefined && file !== '-' ? createReadStream(file) : stdin;
  // Nobody waits for input that is no longer wanted.
  signal.addEventListener('abort', () => input.destroy(signal.reason as Error), { once: true });
  const pieces = input as AsyncIterable<Buffer>;
  if (lines) {
    yield* linesOf(pieces);
    return;
  }
  const body = await whole(pieces);
  if (isImplied && body.length === 0) {
    throw new UsageError("what shall be published? There was nothing on standard input; '-' publishes that, too");
  }
  yield body;
}

async function whole(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const piece of pieces) {
    size += piece.length;
    if (size > LARGEST) throw tooLarge('the body');
    chunks.push(piece);
  }
  return Buffer.concat(chunks);
}

/** The lines that are not empty, without what ends them: a line feed, or a carriage return before it. */
async function* linesOf(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const withoutReturn = (line: Buffer) => (line.at(-1) === RETURN ? line.subarray(0, -1) : line);
  let begun: Buffer[] = [];
  let size = 0;
  for await (const piece of pieces) {
    let start = 0;
    for (let end = piece.indexOf(FEED); end !== -1; end = piece.indexOf(FEED, start)) {
      const line = withoutReturn(Buffer.concat([...begun, piece.subarray(start, end)]));
      begun = [];
      size = 0;
      start = end + 1;
      if (line.length > 0) yield line;
    }
    size += piece.length - start;
    if (size > LARGEST) throw tooLarge('a line');
    if (start < piece.length) begun.push(piece.subarray(start));
  }
  const last = withoutReturn(Buffer.concat(begun));
  if (last.length > 0) yield last;
}

const FEED = 0x0a;
const RETURN = 0x0d;

function tooLarge(what: string): UsageError {
  return new UsageError(`${what} has more than ${LARGEST.toLocaleString('en')} bytes`);
}

/**
 * Encodes a body. Without a serializer, what is JSON is sent as JSON, other text as text, and the rest as bytes; each as it stands,
 * so that numbers keep their digits. With one, the body is read as JSON and written anew, but for `text` and `raw`.
 */
export function encode(body: Uint8Array, serializer: Serializer | undefined): Encoded {
  const text = utf8(body);
  if (serializer === undefined) {
    if (text === undefined) return { body, contentType: 'application/data', contentEncoding: 'binary' };
    const contentType = isJson(text) ? 'application/json' : 'text/plain';
    return { body, contentType, contentEncoding: 'utf-8' };
  }
  if (serializer === 'raw') return serialization.dumps(body, 'raw');
  if (text === undefined) throw new UsageError(`the body is not UTF-8 text: only --serializer raw can write it`);
  if (serializer === 'text') return serialization.dumps(text, 'text');
  if (!isJson(text)) throw new UsageError(`--serializer ${serializer} takes a body in JSON, and this is none`);
  if (serializer === 'json') return { body, contentType: 'application/json', contentEncoding: 'utf-8' };
  return serialization.dumps(JSON.parse(text), serializer);
}

function utf8(body: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(body);
  } catch {
    return undefined;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
