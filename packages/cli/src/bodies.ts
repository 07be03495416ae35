/** Where the bodies of messages come from, and how they are written. */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
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

/**
 * The bodies that the command line names: the argument, a file, or standard input (`-`, or nothing at all when something is piped
 * in). Each as it stands, or one for each line of UTF-8 text. Throws the signal's reason when it is aborted while it waits for input.
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
  if (argument === undefined && file === undefined && stdin.isTTY) {
    throw new UsageError("what shall be published? Give a body, --file, or '-' for standard input");
  }
  const fromFile = file !== undefined && file !== '-';
  // Nobody waits for input that is no longer wanted.
  signal.addEventListener('abort', () => stdin.destroy(signal.reason as Error), { once: true });
  if (lines) {
    const input = fromFile ? createReadStream(file) : stdin;
    // A stream that fails tells its reader, and nobody else.
    const failed = new Promise<never>((_, reject) => input.once('error', reject));
    failed.catch(() => undefined);
    const reader = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
    try {
      const iterator = reader[Symbol.asyncIterator]();
      for (;;) {
        const next = await Promise.race([iterator.next(), failed]);
        if (next.done === true) return;
        if (next.value !== '') yield Buffer.from(next.value);
      }
    } finally {
      reader.close();
      input.destroy();
    }
  } else if (fromFile) {
    yield await readFile(file);
  } else {
    const chunks: Buffer[] = [];
    for await (const chunk of stdin) chunks.push(Buffer.from(chunk as Buffer));
    yield Buffer.concat(chunks);
  }
}

/**
 * Encodes a body. Without a serializer, what is JSON is sent as JSON, other text as text, and the rest as bytes; each as it stands,
 * so that numbers keep their digits. With one, the body is read as JSON and written anew, but for `text` and `raw`.
 */
export function encode(body: Uint8Array, serializer: string | undefined): Encoded {
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
