/** Installs servers from Debian's packages. */
import { spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';

const policy = '/usr/sbin/policy-rc.d';

/** Whether this process may install packages here. */
export function canInstall(): boolean {
  return process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
}

/** Installs a package without starting the service in it, and without what it only recommends. */
export function install(name: string): void {
  // The tests run servers of their own; the one of the package would listen on every interface from now on.
  const forbidden = existsSync(policy);
  if (!forbidden) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    // Where the lists of packages are missing or old, the first try fails.
    let failure = aptInstall(name);
    if (failure !== undefined) failure = aptGet('update') ?? aptInstall(name);
    if (failure !== undefined) throw new Error(`apt-get could not install ${name}: ${failure}`);
  } finally {
    if (!forbidden) rmSync(policy);
  }
}

function aptInstall(name: string): string | undefined {
  return aptGet('install', '--yes', '--no-install-recommends', name);
}

/** Says why it failed, if it did. */
function aptGet(...args: string[]): string | undefined {
  const options = ['-qq', '-o', 'DPkg::Lock::Timeout=300', '-o', 'Dpkg::Use-Pty=0'];
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status, stderr } = spawnSync('apt-get', [...options, ...args], { env, encoding: 'utf8' });
  return status === 0 ? undefined : stderr.trim();
}
