/**
 * The Python environments of this checkout, in which the counterparts of the interop tests run. Each is made from a list of
 * exact versions, interop/python/requirements/<name>.txt, and is made anew when that list changes.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../setup.mjs';
import { CommandFailed, capture } from '../command.ts';
import { lock } from '../lock.mjs';
import { findPython } from './python.ts';

const folder = process.env.WAKAME_PEERS_FOLDER ?? join(root, '.cache', 'peers');
const lists = process.env.WAKAME_PEERS_REQUIREMENTS ?? join(root, 'interop', 'python', 'requirements');

/** A generation of Python packages. */
export const peerNames = ['current', 'previous', 'old', 'oslo', 'oslo-old'] as const;
export type PeerName = (typeof peerNames)[number];

/** The environments of these names, all of them for none. */
export function peersNamed(names: readonly string[]): readonly PeerName[] {
  if (names.length === 0) return peerNames;
  return names.map((name) => {
    const found = peerNames.find((known) => known === name);
    if (found === undefined) throw new Error(`no peer is called '${name}'; there are: ${peerNames.join(', ')}`);
    return found;
  });
}

/** The interpreter of an environment for tests; throws, saying what to do, when it has not been made. */
export function peerPython(name: PeerName): string {
  if (!isMade(name)) {
    throw new Error(
      `the Python peer '${name}' is not there: make it (scripts/peers up), or run the tests with npm test`,
    );
  }
  return python(name);
}

/** The exact version of a package in an environment. */
export function peerVersion(name: PeerName, distribution: string): string {
  const found = new RegExp(`^${distribution}==(\\S+)$`, 'm').exec(requirements(name));
  if (found?.[1] === undefined) throw new Error(`${requirementsFile(name)} does not say which ${distribution}`);
  return found[1];
}

export function isMade(name: PeerName): boolean {
  // The interpreter is a link to the one it was made with, which may be gone.
  return existsSync(python(name)) && existsSync(stamp(name)) && readFileSync(stamp(name), 'utf8') === fingerprint(name);
}

/** Makes an environment unless it stands. Safe to run from several processes at once. Tells what was done. */
export async function make(name: PeerName): Promise<'stands' | 'made'> {
  if (isMade(name)) return 'stands';
  const unlock = await lockOf(name);
  try {
    if (isMade(name)) return 'stands';
    const { executable, version } = findPython();
    console.error(`making the Python peer '${name}' with Python ${version}, ${executable}`);
    const place = join(folder, name);
    rmSync(place, { recursive: true, force: true });
    mkdirSync(place, { recursive: true });
    try {
      await capture(executable, ['-m', 'venv', place]);
      const options = ['--quiet', '--disable-pip-version-check', '--no-input', '--no-deps'];
      await capture(python(name), ['-m', 'pip', 'install', ...options, '-r', requirementsFile(name)]);
    } catch (error) {
      const said = error instanceof CommandFailed ? `\n${error.output}` : '';
      throw new Error(`the Python peer '${name}' could not be made: ${(error as Error).message}${said}`);
    }
    // Last: what an interrupted run leaves behind is made anew.
    writeFileSync(stamp(name), fingerprint(name));
    return 'made';
  } finally {
    unlock?.();
  }
}

/** Removes an environment. */
export async function remove(name: PeerName): Promise<void> {
  const unlock = await lockOf(name);
  rmSync(join(folder, name), { recursive: true, force: true });
  unlock?.();
}

function lockOf(name: PeerName) {
  return lock(join(folder, `${name}.lock`), {
    onHeld: (owner) => console.error(`waiting for process ${owner}, which makes the Python peer '${name}'`),
  });
}

function python(name: PeerName): string {
  return process.platform === 'win32'
    ? join(folder, name, 'Scripts', 'python.exe')
    : join(folder, name, 'bin', 'python');
}

function stamp(name: PeerName): string {
  return join(folder, name, 'made-from');
}

function fingerprint(name: PeerName): string {
  return createHash('sha256').update(requirements(name)).digest('hex');
}

function requirements(name: PeerName): string {
  return readFileSync(requirementsFile(name), 'utf8');
}

function requirementsFile(name: PeerName): string {
  return join(lists, `${name}.txt`);
}
