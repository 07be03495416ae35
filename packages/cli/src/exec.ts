/** Hands a message to a program: the body on its standard input, the rest in its environment. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Delivery } from 'wakame';
import { toJson } from './output.js';

/** Programs at work. They are in a process group of their own, so that Ctrl-C lets them finish. */
const running = new Set<ChildProcess>();

/** Ends all of them at once. */
export function killAll(): void {
  for (const child of running) {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
    } catch {
      // It has ended in this very moment.
    }
  }
}

/** Runs a command of the shell. Resolves with its exit code, or the name of the signal that ended it. Rejects when there is no shell. */
export function execute(
  command: string,
  { body, exchange, routingKey, redelivered, properties }: Delivery,
  queue: string,
  environment: NodeJS.ProcessEnv,
): Promise<number | string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, {
      shell: true,
      detached: true,
      stdio: ['pipe', 'inherit', 'inherit'],
      env: {
        ...environment,
        WAKAME_QUEUE: queue,
        WAKAME_EXCHANGE: exchange,
        WAKAME_ROUTING_KEY: routingKey,
        WAKAME_REDELIVERED: redelivered ? '1' : '0',
        WAKAME_CONTENT_TYPE: properties.contentType ?? '',
        WAKAME_CORRELATION_ID: properties.correlationId ?? '',
        WAKAME_MESSAGE_ID: properties.messageId ?? '',
        WAKAME_REPLY_TO: properties.replyTo ?? '',
        WAKAME_HEADERS: toJson(properties.headers ?? {}),
      },
    });
    running.add(child);
    child.once('error', (error) => {
      running.delete(child);
      reject(error);
    });
    child.once('close', (code, signal) => {
      running.delete(child);
      resolve(code ?? signal ?? 'unknown');
    });
    // A program need not read its input.
    child.stdin.on('error', () => undefined);
    child.stdin.end(body);
  });
}
