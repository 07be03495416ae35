/**
 * The limit: Kombu's commands on a bare socket, pipelined. It pushes envelopes written once; it takes many at a time, records each as Kombu does
 * (a hash and a sorted set), and forgets them when they are acknowledged. Nothing is decoded, leased or checked.
 */
import { connect, type Socket } from 'node:net';
import { type Budget, repeat, type Sample } from '../lib/sample.ts';
import { type RedisAdapter, text, WINDOW } from './adapter.ts';

function command(...parts: readonly string[]): string {
  return `*${parts.length}\r\n${parts.map((part) => `$${Buffer.byteLength(part)}\r\n${part}\r\n`).join('')}`;
}

/** Sends text, and counts the replies by their lines; those of an array of texts are handed out. */
class Link {
  readonly #socket: Socket;
  #rest = '';
  #wanted = 0;
  #replies: string[] = [];
  #done: ((replies: string[]) => void) | undefined;

  private constructor(socket: Socket) {
    this.#socket = socket.setEncoding('latin1').setNoDelay(true);
    socket.on('data', (chunk) => this.#read(chunk.toString()));
  }

  static async open(url: string): Promise<Link> {
    const { hostname, port, password, pathname } = new URL(url);
    const socket = connect(Number(port), hostname);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    const link = new Link(socket);
    if (password) await link.call(command('AUTH', decodeURIComponent(password)), 1);
    if (pathname.length > 1) await link.call(command('SELECT', pathname.slice(1)), 1);
    return link;
  }

  /** Resolves with so many replies; `:1`, `+OK` and texts alike, each as one line. Arrays count by their members. */
  call(bytes: string, replies: number): Promise<string[]> {
    this.#wanted = replies;
    this.#replies = [];
    this.#socket.write(bytes, 'latin1');
    return new Promise((resolve) => {
      this.#done = resolve;
    });
  }

  #read(chunk: string): void {
    const lines = (this.#rest + chunk).split('\r\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line[0] === '$' && line !== '$-1') continue;
      if (line[0] === '*') {
        // Its members follow, in its stead.
        if (line !== '*-1') this.#wanted += Number(line.slice(1)) - 1;
        continue;
      }
      if (line[0] === '-') throw new Error(line);
      this.#replies.push(line);
    }
    if (this.#replies.length < this.#wanted) return;
    const done = this.#done;
    this.#done = undefined;
    done?.(this.#replies);
  }
}

const envelope = JSON.stringify({
  body: Buffer.from(text).toString('base64'),
  'content-encoding': 'utf-8',
  'content-type': 'text/plain',
  headers: {},
  properties: {
    delivery_mode: 2,
    delivery_info: { exchange: '', routing_key: 'bench' },
    priority: 0,
    body_encoding: 'base64',
    delivery_tag: '0b7f2c5e-9d0e-4f0e-8a63-3f7f5a3c1d2b',
  },
});

async function enqueue(url: string, budget: Budget): Promise<Sample> {
  const link = await Link.open(url);
  const pushes = command('LPUSH', 'bench', envelope).repeat(WINDOW);
  return repeat(budget, async () => {
    await link.call(pushes, WINDOW);
    return WINDOW;
  });
}

async function take(url: string, budget: Budget): Promise<Sample> {
  const link = await Link.open(url);
  const pushes = command('LPUSH', 'bench', envelope).repeat(WINDOW);
  for (let i = 0; i < budget.most; i += WINDOW) await link.call(pushes, WINDOW);
  let tag = 0;
  return repeat(budget, async () => {
    const taken = await link.call(command('RPOP', 'bench', String(WINDOW)), 1);
    let records = '';
    let acks = '';
    for (const one of taken) {
      const name = `tag-${tag++}`;
      records += command('ZADD', 'unacked_index', String(Date.now() / 1000), name);
      records += command('HSET', 'unacked', name, `[${one},"","bench"]`);
      acks += command('ZREM', 'unacked_index', name) + command('HDEL', 'unacked', name);
    }
    await link.call(records + acks, 4 * taken.length);
    return taken.length;
  });
}

export const bare: RedisAdapter = { enqueue, take };
