/** Programs out of Debian's newest packages, unpacked into a folder with all that they need: nothing of the machine's own is touched. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from './database.ts';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Whether packages can be had here: it takes a Debian, not its root. */
export function canUnpack(): boolean {
  return existsSync('/usr/bin/apt-get') && existsSync('/usr/bin/dpkg-deb') && existsSync(keyring);
}

/** Makes the folder: the package with all those that it needs, down to its C library. From Debian's unstable release, at the mirror that this machine uses. */
export function unpack(name: string, folder: string): void {
  const making = `${folder}.part`;
  rmSync(making, { recursive: true, force: true });
  const lists = join(making, 'apt');
  mkdirSync(join(lists, 'lists', 'partial'), { recursive: true });
  mkdirSync(join(lists, 'archives', 'partial'), { recursive: true });
  writeFileSync(join(lists, 'status'), '');
  writeFileSync(join(lists, 'sources.list'), `deb [signed-by=${keyring}] ${mirror()} unstable main\n`);
  const settings = join(lists, 'apt.conf');
  const paths = {
    'Dir::Etc::sourcelist': join(lists, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State': lists,
    'Dir::State::lists': join(lists, 'lists'),
    'Dir::State::status': join(lists, 'status'),
    'Dir::Cache': lists,
    'Dir::Cache::archives': join(lists, 'archives'),
    'APT::Sandbox::User': '',
  };
  writeFileSync(
    settings,
    Object.entries(paths)
      .map(([key, value]) => `${key} "${value}";\n`)
      .join(''),
  );
  const env = { ...process.env, APT_CONFIG: settings };
  run('apt-get', ['-qq', 'update'], env);
  run('apt-get', ['-qq', '--yes', '--no-install-recommends', '--download-only', 'install', name], env);
  for (const file of readdirSync(join(lists, 'archives')).filter((entry) => entry.endsWith('.deb'))) {
    run('dpkg-deb', ['--extract', join(lists, 'archives', file), making], process.env);
  }
  rmSync(lists, { recursive: true });
  rmSync(folder, { recursive: true, force: true });
  renameSync(making, folder);
}

/** How to run a program of such a folder: with the C library that it was made for. */
export function unpackedCommand(folder: string, program: string, args: readonly string[]): Command {
  const libraries = readdirSync(join(folder, 'usr', 'lib'))
    .map((entry) => join(folder, 'usr', 'lib', entry))
    .filter((path) => path.endsWith('-linux-gnu'));
  const loader = libraries.flatMap((path) =>
    readdirSync(path).flatMap((entry) => (/^ld-linux/.test(entry) ? [join(path, entry)] : [])),
  )[0];
  if (loader === undefined) throw new Error(`${folder} has no dynamic loader`);
  return { program: loader, args: ['--library-path', libraries.join(':'), join(folder, program), ...args] };
}

/** Where this machine gets Debian's packages. */
function mirror(): string {
  const format = '$(COMPONENT) $(RELEASE) $(REPO_URI)';
  const found = run('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'], process.env);
  const lines = found.split('\n').map((line) => line.split(' '));
  // The release itself, not its updates.
  const name = /^VERSION_CODENAME=(.*)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1];
  const [, , uri] = lines.find(([component, release]) => component === 'main' && release === name) ?? [];
  if (uri === undefined) throw new Error('apt-get knows no mirror of Debian');
  return uri;
}

function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv): string {
  const { status, error, stdout, stderr } = spawnSync(program, [...args], { env, encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr.trim() || `exit code ${status}`}`);
  return stdout;
}
