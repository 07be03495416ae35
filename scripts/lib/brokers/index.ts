/** The brokers of this checkout: which there are, how to find them running, start and stop them. */
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { lock } from '../lock.mjs';
import type { Broker } from './broker.ts';
import { canInstall, install } from './debian.ts';
import { mariadb } from './mariadb.ts';
import { mysql } from './mysql.ts';
import { postgresql } from './postgresql.ts';
import { isListening, waitUntil } from './processes.ts';
import { rabbitmq } from './rabbitmq.ts';
import { redis } from './redis.ts';
import { stateFolder } from './state.ts';

/** Every broker that tests use, in the order they start. */
export const brokers: readonly Broker[] = [rabbitmq, redis, postgresql, mariadb, mysql];

/** Where a broker is. */
export interface Status {
  readonly broker: Broker;
  /** `given`: by an environment variable, somebody else's to start and stop. `running` and `stopped`: this checkout's own. */
  readonly state: 'given' | 'running' | 'stopped';
  /** What tests find in their environment; empty unless the broker is there. */
  readonly variables: Readonly<Record<string, string>>;
}

/** The brokers of these names, all of them for none. */
export function brokersNamed(names: readonly string[]): readonly Broker[] {
  if (names.length === 0) return brokers;
  return names.map((name) => {
    const broker = brokers.find((candidate) => candidate.name === name);
    if (broker === undefined) {
      throw new Error(`no broker is called '${name}'; there are: ${brokers.map((known) => known.name).join(', ')}`);
    }
    return broker;
  });
}

/** Where a broker is now. Starts nothing. */
export async function status(broker: Broker): Promise<Status> {
  const given = givenVariables(broker);
  if (given !== undefined) return { broker, state: 'given', variables: given };
  const server = await broker.open(folderOf(broker));
  if (!(await server.isRunning())) return { broker, state: 'stopped', variables: {} };
  return { broker, state: 'running', variables: server.variables };
}

/**
 * Makes sure that a broker can be used: starts this checkout's own one, empty, unless it runs already or another one is given.
 *
 * @param options.keep It runs until `down`. Without this it belongs to the run of the tests, which ends with {@link release}.
 */
export async function up(broker: Broker, options: { keep: boolean }): Promise<Status> {
  const given = givenVariables(broker);
  if (given !== undefined) {
    await checkReachable(broker, given);
    return { broker, state: 'given', variables: given };
  }
  const unlock = await lockState();
  try {
    provide(broker);
    const folder = folderOf(broker);
    const server = await broker.open(folder);
    await server.start({ fresh: true });
    if (options.keep) writeFileSync(keepFile(folder), '');
    return { broker, state: 'running', variables: server.variables };
  } finally {
    unlock?.();
  }
}

/** Makes sure that servers of a test's own can be started: installs what is missing, where that can be done. */
export async function prepare(broker: Broker): Promise<void> {
  const unlock = await lockState();
  try {
    provide(broker);
  } finally {
    unlock?.();
  }
}

function provide(broker: Broker): void {
  if (broker.isInstalled()) return;
  if (broker.install !== undefined) {
    console.error(`getting ${broker.title}`);
    broker.install();
    return;
  }
  if (!canInstall()) throw new Error(`${broker.title} is not installed. ${howToProvide(broker)}`);
  console.error(`installing ${broker.debianPackage}`);
  install(broker.debianPackage);
}

/** Stops this checkout's own servers of these brokers: the shared one, and those that tests started beside it. */
export async function down(which: readonly Broker[]): Promise<void> {
  await stopServers(which, () => true);
}

/** Stops what the run of the tests started; what `up` was told to keep goes on. */
export async function release(): Promise<void> {
  await stopServers(brokers, (folder) => !existsSync(keepFile(folder)));
}

async function stopServers(which: readonly Broker[], wanted: (folder: string) => boolean): Promise<void> {
  const unlock = await lockState();
  try {
    const folders = which.flatMap((broker) => foldersOf(broker).map((folder) => ({ broker, folder })));
    const stop = async ({ broker, folder }: { broker: Broker; folder: string }) => {
      await (await broker.open(folder)).stop();
      rmSync(keepFile(folder), { force: true });
    };
    await Promise.all(folders.filter(({ folder }) => wanted(folder)).map(stop));
  } finally {
    unlock?.();
  }
}

function lockState() {
  return lock(join(stateFolder, 'lock'), {
    onHeld: (owner) => console.error(`waiting for process ${owner}, which starts or stops brokers`),
  });
}

function folderOf(broker: Broker): string {
  return join(stateFolder, broker.name);
}

/** The folder of the shared server, and those of the servers that tests started for themselves. */
function foldersOf(broker: Broker): string[] {
  return readdirSync(stateFolder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && (entry.name === broker.name || entry.name.startsWith(`${broker.name}-`)))
    .map((entry) => join(stateFolder, entry.name));
}

function keepFile(folder: string): string {
  return join(folder, 'keep');
}

function urlVariable(broker: Broker): string {
  return `WAKAME_TEST_${broker.name.toUpperCase()}_URL`;
}

/** The variables of a broker in the environment, WAKAME_TEST_<NAME>_*, if its URL is among them. */
function givenVariables(broker: Broker): Record<string, string> | undefined {
  if (!process.env[urlVariable(broker)]) return undefined;
  const prefix = urlVariable(broker).replace(/URL$/, '');
  const found = Object.entries(process.env).filter(([name, value]) => name.startsWith(prefix) && value !== undefined);
  return Object.fromEntries(found) as Record<string, string>;
}

async function checkReachable(broker: Broker, variables: Record<string, string>): Promise<void> {
  const { hostname, port } = new URL(variables[urlVariable(broker)] ?? '');
  if (port === '') return;
  const name = hostname.replace(/^\[|\]$/g, '');
  await waitUntil(`${broker.title} at ${hostname}:${port}, given by ${urlVariable(broker)}`, 5000, () =>
    isListening(Number(port), name),
  );
}

/** What to do where nothing can be installed. */
export function howToProvide(broker: Broker): string {
  return `Install it (Debian, Ubuntu: apt-get install ${broker.debianPackage}), or set ${urlVariable(broker)} to the URL of one that runs.`;
}
