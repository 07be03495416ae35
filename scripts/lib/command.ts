/** Commands that checks run. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { root } from '../setup.mjs';

/** A command ended otherwise than with success. */
export class CommandFailed extends Error {
  /** What it wrote, as far as that was captured. */
  readonly output: string;

  constructor(message: string, output: string) {
    super(message);
    this.output = output;
  }
}

type Options = Pick<SpawnOptions, 'cwd' | 'env'> & {
  /** Milliseconds until it is killed. */
  timeout?: number;
};

const running = new Set<ChildProcess>();

/** Tells the commands at work to end. */
export function stopCommands(): void {
  for (const child of running) child.kill('SIGTERM');
}

/** Runs a command of the workspace (biome, tsc, node, …) in the root, its output shown as it comes. */
export async function run(command: string, args: readonly string[], options: Options = {}): Promise<void> {
  await execute(command, args, options, false);
}

/** Runs a command and gives what it wrote to standard output; nothing is shown. */
export function capture(command: string, args: readonly string[], options: Options = {}): Promise<string> {
  return execute(command, args, options, true);
}

function execute(command: string, args: readonly string[], options: Options, quiet: boolean): Promise<string> {
  return new Promise((resolve, reject) => {
    const stdio: SpawnOptions['stdio'] = quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit';
    const child = spawn(command, args, { cwd: root, killSignal: 'SIGKILL', ...options, stdio });
    running.add(child);
    let stdout = '';
    let all = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      all += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      all += text;
    });
    child.once('error', reject);
    child.once('close', (code, signal) => {
      running.delete(child);
      if (code === 0) resolve(stdout);
      else reject(new CommandFailed(`${[command, ...args].join(' ')}: ${signal ?? `exit code ${code}`}`, all));
    });
  });
}
