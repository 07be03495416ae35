/** Processes, ports and waiting, for servers that outlive the script that starts them. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The path of a program, looked for in the given folders first and then in PATH. */
export function findCommand(name: string, ...folders: string[]): string | undefined {
  const path = (process.env.PATH ?? '').split(delimiter);
  return [...folders, ...path].map((folder) => join(folder, name)).find((file) => existsSync(file));
}

/**
 * The ids of the processes with a matching command line, its arguments joined by spaces. Servers are found this way and not by a
 * pid file, which may be stale, missing or name somebody else's process after a crash. A zombie has no command line, so one
 * that nobody reaps counts as gone.
 */
export function findProcesses(matches: (commandLine: string) => boolean): number[] {
  return commandLines()
    .filter(([pid, commandLine]) => pid !== process.pid && matches(commandLine))
    .map(([pid]) => pid);
}

function commandLines(): [pid: number, commandLine: string][] {
  if (!existsSync('/proc/self/cmdline')) {
    const { stdout } = spawnSync('ps', ['-axwwo', 'pid=,args='], { encoding: 'utf8' });
    return [...stdout.matchAll(/^\s*(\d+) (.*)$/gm)].map(([, pid, args]) => [Number(pid), `${args} `]);
  }
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map((pid) => [Number(pid), readIfThere(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')]);
}

/** A process may end between the listing and the reading. */
function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Sends a signal; a process that ended in the meantime is no error. */
export function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Whether something accepts TCP connections there. */
export function isListening(port: number, host = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host, timeout: 2000 });
    const finish = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => finish(true));
    socket.once('error', () => finish(false));
    socket.once('timeout', () => finish(false));
  });
}

/** Resolves as soon as `condition` does to true; rejects, saying `what` was waited for, after `ms` milliseconds. */
export async function waitUntil(what: string, ms: number, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`${what}: waited ${ms / 1000} s in vain`);
    await sleep(50);
  }
}

/**
 * `count` neighbouring free ports, the same ones for the same seed as long as they stay free. They lie below the range that
 * systems take the ports of outgoing connections from: a client that keeps trying a closed port within that range may one day be
 * given this very port for its own end, and then is connected with itself.
 */
export async function freePorts(seed: string, count: number): Promise<number[]> {
  const [lowest, highest] = [20_000, 32_000];
  const slots = Math.floor((highest - lowest) / count);
  const first = createHash('sha256').update(seed).digest().readUInt32BE() % slots;
  for (let i = 0; i < slots; i += 1) {
    const base = lowest + ((first + i) % slots) * count;
    const ports = Array.from({ length: count }, (_, offset) => base + offset);
    if ((await Promise.all(ports.map(isFree))).every(Boolean)) return ports;
  }
  throw new Error(`no ${count} neighbouring ports are free between ${lowest} and ${highest}`);
}

/** Whether a server could listen on that port. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)));
  });
}
