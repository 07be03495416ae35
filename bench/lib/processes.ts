/** Servers of the bench's own that live as long as it does. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';

const started: ChildProcess[] = [];

/** Starts a program of the bench that prints one line, and gives the line. It ends when its standard input does: with this process, at the latest. */
export async function startServer(program: string, args: readonly string[] = []): Promise<string> {
  const child = spawn(process.execPath, [program, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  started.push(child);
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  return line.trim();
}

export function stopServers(): void {
  for (const child of started.splice(0)) child.stdin?.end();
}
