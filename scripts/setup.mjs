/**
 * Makes a checkout ready to work: installs the dependencies, the pinned Node among them, when they are not there or are not those
 * of package-lock.json. Plain JavaScript without dependencies, because it is what the machine's own Node runs first.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lock } from './lib/lock.mjs';

export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/[\\/]$/, '');

const bin = join(root, 'node_modules', '.bin');
const pinned = join(root, 'node_modules', 'node', 'bin', process.platform === 'win32' ? 'node.exe' : 'node');

/**
 * Installs what is missing. Safe to run from several processes at once.
 *
 * @returns {Promise<string>} The Node to go on with.
 */
export async function setup() {
  if (!isInstalled()) {
    const release = await lock(join(root, '.cache', 'setup.lock'), {
      onHeld: (owner) => console.error(`waiting for process ${owner}, which is installing the dependencies`),
    });
    try {
      if (!isInstalled()) install();
    } finally {
      release?.();
    }
  }
  return developmentNode();
}

/** The environment of everything that setup precedes: commands of the workspace, and the pinned Node, come first. */
export function environment() {
  return { ...process.env, PATH: [bin, pathWithoutNodeModules()].join(delimiter) };
}

/**
 * Whether every package of the lock stands in node_modules. npm notes at the end of each install what it installed, so this sees
 * an interrupted install, a changed lock and an install by hand alike.
 */
function isInstalled() {
  const wanted = packagesOf(join(root, 'package-lock.json'));
  const present = packagesOf(join(root, 'node_modules', '.package-lock.json'));
  return Object.entries(wanted).every(([path, { version, integrity, link, optional }]) => {
    // The entry without a path is the workspace itself, those outside any node_modules are its packages.
    if (!/(^|\/)node_modules\//.test(path)) return true;
    const found = present[path];
    if (found === undefined) return optional === true;
    return link === true || (found.version === version && found.integrity === integrity);
  });
}

/**
 * @param {string} file
 * @returns {Record<string, { version?: string, integrity?: string, link?: boolean, optional?: boolean }>}
 */
function packagesOf(file) {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')).packages : {};
}

function install() {
  // Standard output is the program's: what scripts/brokers prints is read by a shell.
  console.error('installing the dependencies (npm ci)');
  // --loglevel=error: the machine's Node may be older than what the tools want; they run on the pinned one.
  const { status, error } = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['inherit', 2, 2],
    shell: process.platform === 'win32',
    // npm must not run on a Node that it is about to delete.
    env: { ...process.env, PATH: pathWithoutNodeModules() },
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`npm ci failed with exit code ${status}`);
}

/** `npm run` puts the node_modules/.bin of this folder and of those above it in front. */
function pathWithoutNodeModules() {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => !/[\\/]node_modules[\\/]\.bin$/.test(folder))
    .join(delimiter);
}

/** The pinned Node; where the machine forbids npm to run its install script, the machine's own if it is recent enough. */
function developmentNode() {
  if (existsSync(pinned)) return pinned;
  const { version } = JSON.parse(readFileSync(join(root, 'node_modules', 'node', 'package.json'), 'utf8'));
  const why = `npm was not allowed to run the install script of the pinned Node ${version} (npm config get ignore-scripts)`;
  const major = Number.parseInt(process.versions.node, 10);
  if (major >= Number.parseInt(version, 10)) {
    console.warn(`${why}; going on with Node ${process.versions.node} of this machine`);
    return process.execPath;
  }
  throw new Error(
    `${why}, and Node ${process.versions.node} is too old to stand in for it. Allow that one script: npm rebuild node --ignore-scripts=false`,
  );
}
