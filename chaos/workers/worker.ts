/** What both kinds of workers do. Everything is written down before it is done, or as soon as it is known. */
import { resourceUsage } from 'node:process';
import { Connection } from 'wakame';
import { append, type Entry } from '../ledger/ledger.ts';
import type { ConsumerTask, ProducerTask } from './task.ts';

/** The log's descriptor in a worker. */
const LEDGER = 3;

export function write(...entries: readonly Entry[]): void {
  append(LEDGER, ...entries);
}

export function taskOf<T extends ProducerTask | ConsumerTask>(): T {
  const task = JSON.parse(process.argv[2] ?? '') as T;
  write({ event: 'awake', by: task.by });
  return task;
}

/** For whoever looks into the worker's own output afterwards. */
export function say(text: string): void {
  process.stderr.write(`${new Date().toISOString()} ${text}\n`);
}

export function connect({ by, url, options }: ProducerTask | ConsumerTask): Connection {
  const connection = new Connection(url, options);
  connection.on('disconnected', (error) => {
    write({ event: 'lost', by, why: error.code });
    say(`lost: ${error.message}`);
  });
  connection.on('recovered', ({ host, duration }) => say(`recovered at ${host} after ${Math.round(duration)} ms`));
  connection.on('problem', (error) => say(`problem: ${error.code} ${error.message}`));
  connection.on('unroutable', () => say('a message of the side queue found no queue'));
  return connection;
}

/** Tells of the memory every second. Returns how to stop it. */
export function watchMemory(by: string): () => void {
  const tell = () => write({ event: 'memory', by, bytes: resourceUsage().maxRSS * 1024 });
  const timer = setInterval(tell, 1000);
  return () => {
    clearInterval(timer);
    tell();
  };
}

/** Resolves when the parent wants the worker to finish: it ends the worker's standard input. Also when the parent is gone. */
export function lastCall(): Promise<void> {
  return new Promise((resolve) => {
    process.stdin.once('close', () => resolve());
    process.stdin.resume();
  });
}
