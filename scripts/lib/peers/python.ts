/** Finds a Python that can make environments. */
import { spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { canInstall, install } from '../brokers/debian.ts';

/** The oldest that the pinned packages run on. */
const oldest = [3, 10] as const;

const debianPackage = 'python3-venv';
const variable = 'WAKAME_TEST_PYTHON';

/** An interpreter that makes environments. */
export interface Python {
  readonly executable: string;
  /** `3.11.7` */
  readonly version: string;
}

/**
 * The interpreter that WAKAME_TEST_PYTHON names, else the first python3 of PATH that will do, else Debian's, which is installed
 * when that is allowed. Throws, saying what to do, when there is none.
 */
export function findPython(): Python {
  const given = process.env[variable];
  if (given) {
    const found = examine(given);
    if (typeof found !== 'string') return found;
    throw new Error(`${variable}=${given}: ${found}`);
  }
  const problems = new Map<string, string>();
  const first = firstOf(problems);
  if (first !== undefined) return first;
  if (canInstall()) {
    console.error(`installing ${debianPackage}`);
    install(debianPackage);
    const installed = firstOf(problems);
    if (installed !== undefined) return installed;
  }
  const tried = [...problems].map(([executable, problem]) => `\n  ${executable}: ${problem}`).join('');
  throw new Error(
    `no Python ${oldest.join('.')} or newer with venv was found${tried}\n` +
      `Install it (Debian, Ubuntu: apt-get install ${debianPackage}), or name one by ${variable}.`,
  );
}

function firstOf(problems: Map<string, string>): Python | undefined {
  for (const folder of new Set([...(process.env.PATH ?? '').split(delimiter), '/usr/bin'])) {
    const executable = join(folder, 'python3');
    const found = examine(executable);
    if (typeof found !== 'string') return found;
    if (found !== '') problems.set(executable, found);
  }
  return undefined;
}

/** What is wrong with an interpreter, if anything is; empty when there is none. */
function examine(executable: string): Python | string {
  const program = 'import sys, venv, ensurepip; print(*sys.version_info[:3], sep=".")';
  const { status, stdout, stderr, error } = spawnSync(executable, ['-c', program], { encoding: 'utf8' });
  if (error !== undefined) return (error as NodeJS.ErrnoException).code === 'ENOENT' ? '' : error.message;
  if (status !== 0) return stderr.trim().split('\n').at(-1) || `exit code ${status}`;
  const version = stdout.trim();
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major === oldest[0] && minor >= oldest[1] ? { executable, version } : `is version ${version}`;
}
