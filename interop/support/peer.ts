/** A Python process with Kombu, told what to do line by line (interop/python/peer.py). */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type PeerName, peerPython } from '../../scripts/lib/peers/index.ts';
import { root } from '../../scripts/setup.mjs';

/** A value as packages/wakame/test/golden/canonical.ts writes it. */
export type Packed = unknown;

/** A message as Python has it. */
export interface PeerMessage {
  /** For `settle`; null when it is settled. */
  readonly tag: number | null;
  readonly body: Packed;
  readonly content_type: string | null;
  readonly content_encoding: string | null;
  readonly headers: Packed;
  readonly properties: Packed;
  readonly exchange: string;
  readonly routing_key: string;
  readonly redelivered: boolean;
}

export interface TakeOptions {
  readonly count?: number | undefined;
  /** Seconds. */
  readonly timeout?: number | undefined;
  readonly accept?: readonly string[] | undefined;
}

/** What Python raised. */
export class PeerError extends Error {
  /** The name of the exception's class. */
  readonly type: string;

  constructor(command: string, { type, message, trace }: { type: string; message: string; trace: string }) {
    super(`${command}: ${type}: ${message}\n${trace}`);
    this.type = type;
  }
}

interface Waiting {
  readonly command: string;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

const scripts = join(root, 'interop', 'python');

export class Peer implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, Waiting>();
  readonly #exited: Promise<void>;
  #said = '';
  #requests = 0;

  /** Starts a process; `script` is a file of interop/python that understands such lines. */
  constructor(name: PeerName, script = 'peer.py') {
    this.#child = spawn(peerPython(name), [join(scripts, script)], {
      env: { ...process.env, PYTHONUNBUFFERED: '1', PYTHONDONTWRITEBYTECODE: '1', PYTHONIOENCODING: 'utf-8' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said = (this.#said + text).slice(-10_000);
    });
    // A request to a process that has just died fails by its end.
    this.#child.stdin.on('error', () => undefined);
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#answered(line));
    this.#exited = new Promise((resolve) => {
      this.#child.once('error', (error) => this.#ended(error.message, resolve));
      this.#child.once('close', (code, signal) => this.#ended(`it ended with ${signal ?? `code ${code}`}`, resolve));
    });
  }

  /** A process that is connected. */
  static async connect(name: PeerName, url: string, options?: Readonly<Record<string, unknown>>): Promise<Peer> {
    const peer = new Peer(name);
    await peer.call('open', { url, options });
    return peer;
  }

  /** Has a command carried out. Rejects {@link PeerError} with what it raised. */
  call<R = unknown>(command: string, options: Readonly<Record<string, unknown>> = {}): Promise<R> {
    this.#requests += 1;
    const id = this.#requests;
    return new Promise<R>((resolve, reject) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) {
        reject(new Error(`${command}: the Python peer has ended\n${this.#said}`));
        return;
      }
      this.#waiting.set(id, { command, resolve: resolve as (result: unknown) => void, reject });
      this.#child.stdin.write(`${JSON.stringify({ id, do: command, ...options })}\n`);
    });
  }

  /** Consumes and acknowledges `count` messages; fewer come back only when time runs out. */
  take(queue: string, options: TakeOptions = {}) {
    return this.call<PeerMessage[]>('take', { queue, ...options });
  }

  /** Kills the process as a power cut would. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** Ends the process in order. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end();
    await this.#exited;
  }

  #answered(line: string): void {
    const { id, result, error } = JSON.parse(line) as {
      id: number;
      result?: unknown;
      error?: { type: string; message: string; trace: string };
    };
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result ?? undefined);
    else waiting?.reject(new PeerError(waiting.command, error));
  }

  #ended(how: string, resolve: () => void): void {
    for (const { command, reject } of this.#waiting.values()) {
      reject(new Error(`${command}: the Python peer did not answer, ${how}\n${this.#said}`));
    }
    this.#waiting.clear();
    resolve();
  }
}
