/** The two programs of examples/mailbox/ and their Python halves: either half with the other's. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { Connection, Mailbox } from 'wakame';
import { capture } from '../scripts/lib/command.ts';
import { peerPython } from '../scripts/lib/peers/index.ts';
import { root } from '../scripts/setup.mjs';
import { columns, endpointsOf } from './support/columns.ts';
import { capturePython, runTypeScript } from './support/programs.ts';

const nodePy = join(root, 'interop', 'python', 'mailbox_node.py');
const clientPy = join(root, 'interop', 'python', 'mailbox_client.py');
const nodeTs = join(root, 'examples', 'mailbox', 'node.ts');
const clientTs = join(root, 'examples', 'mailbox', 'client.ts');

/** A program that runs until it is told to stop. */
class Program {
  readonly exited: Promise<unknown>;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(command: string, args: readonly string[]) {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] });
    this.#child = child;
    this.#lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    this.exited = once(child, 'exit');
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await this.exited;
    });
  }

  /** The next line that it prints. */
  async line(): Promise<unknown> {
    return (await this.#lines.next()).value;
  }

  /** Commands it to stop, and gives its exit code. */
  async stop(url: string, hostname: string): Promise<number | null> {
    const connection = new Connection(url);
    const mailbox = new Mailbox('testMailbox', { type: 'fanout', connection });
    expect(await mailbox.call([hostname], 'stop')).toEqual([{ hostname, value: 'stopping' }]);
    await connection.close();
    await this.exited;
    return this.#child.exitCode;
  }
}

// The examples are small: the newest and the oldest Kombu say enough.
const chosen = columns.filter(({ peer, lacks }) => peer !== 'previous' && lacks.fanout === undefined);

describe.each(chosen)('the mailbox programs, $key', { timeout: 60_000 }, ({ transport, peer }) => {
  let url = '';
  let pythonEnd: readonly string[] = [];
  beforeAll(async () => {
    const { node, python, pythonOptions = {} } = await endpointsOf(transport);
    url = node;
    pythonEnd = [python, '--transport-options', JSON.stringify(pythonOptions)];
  });

  test('a node in Python, a client in Node', async () => {
    const node = new Program(peerPython(peer), [nodePy, ...pythonEnd]);
    expect(await node.line()).toBe('ready');
    const said = await capture(process.execPath, [...runTypeScript, clientTs, url], { timeout: 30_000 });
    expect(said).toBe('python: 1\n');
    expect(await node.line()).toBe('Message from Node');
    expect(await node.stop(url, 'python')).toBe(0);
  });

  test('a node in Node, a client in Python', async () => {
    const node = new Program(process.execPath, [...runTypeScript, nodeTs, url, 'kitchen']);
    expect(await node.line()).toBe('ready');
    const replies = JSON.parse(await capturePython(peer, [clientPy, ...pythonEnd]));
    expect(replies).toEqual([{ kitchen: 1 }]);
    expect(await node.line()).toBe('Message from Python');
    expect(await node.stop(url, 'kitchen')).toBe(0);
  });
});
