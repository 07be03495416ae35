/** Runs the two programs beside it, each as a process of its own: node examples/mailbox/main.ts amqp://guest:guest@localhost:5672// */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Connection, Mailbox } from 'wakame';

const [url = 'amqp://localhost'] = process.argv.slice(2);

function start(program: string, ...args: string[]): ChildProcess & { stdout: NodeJS.ReadableStream } {
  const script = fileURLToPath(new URL(program, import.meta.url));
  return spawn(process.execPath, [script, url, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
}

const node = start('node.ts', 'kitchen');
const ended = once(node, 'exit');
const lines = createInterface(node.stdout)[Symbol.asyncIterator]();
console.log(`node: ${(await lines.next()).value}`);

console.log(`client: ${(await text(start('client.ts').stdout)).trim()}`);
console.log(`node: ${(await lines.next()).value}`);

await using connection = new Connection(url);
const [reply] = await new Mailbox('testMailbox', { type: 'fanout', connection }).call(['kitchen'], 'stop');
console.log(`node: ${String(reply?.value)}`);
const [code] = await ended;
console.log(`node: exit code ${code}`);

// Prints:
// node: ready
// client: kitchen: 1
// node: Message from Node
// node: stopping
// node: exit code 0
