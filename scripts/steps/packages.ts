/** The packages as npm would publish them: what is in them, how their types resolve, and whether programs can use them. */
import { cpSync, globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { programsOf } from '../lib/code-blocks/blocks.ts';
import { CommandFailed, capture } from '../lib/command.ts';
import { node, tool } from '../lib/tools.ts';
import { root } from '../setup.mjs';

/** The oldest Node that the packages promise to work on (`engines`), and the newest there is. */
const oldestNode = '20.19.0';
const newestNode = '26.10.0';

/** Types of Node change between its versions, and an application has its own. */
const newestNodeTypes = '26.6.6';

/** The declarations have to be readable for a compiler older than the one that wrote them. */
const olderTypeScript = '5.9.3';

/** Client libraries that applications install beside wakame, as the packages are tested with. */
const clientLibraries = ['ioredis', 'pg', 'mysql2'];

/** Bytes, unpacked. More than that is a mistake in `files`. */
const largestPackage = 2_500_000;

interface Manifest {
  readonly name: string;
  readonly private?: boolean;
  readonly exports: Readonly<Record<string, unknown>>;
}

interface Packed {
  readonly folder: string;
  readonly manifest: Manifest;
  readonly tarball: string;
  readonly files: readonly string[];
  readonly unpackedSize: number;
}

/** Needs the build. */
export async function packages(): Promise<void> {
  const scratch = mkdtempSync(join(tmpdir(), 'wakame-packages-'));
  try {
    const packed: Packed[] = [];
    for (const file of globSync('packages/*/package.json', { cwd: root }).sort()) {
      const folder = join(root, file, '..');
      const manifest = JSON.parse(readFileSync(join(root, file), 'utf8')) as Manifest;
      if (!manifest.private) packed.push(await pack(folder, manifest, scratch));
    }
    const problems: string[] = [];
    for (const one of packed) {
      const found = [...wrongContents(one), ...(await wrongManifest(one)), ...(await wrongTypes(one))];
      problems.push(...found.map((problem) => `${one.manifest.name}: ${problem}`));
      console.log(`${one.manifest.name}: ${one.files.length} files, ${Math.round(one.unpackedSize / 1000)} kB`);
    }
    problems.push(...(await failedPrograms(packed, join(scratch, 'app'))));
    for (const problem of problems) console.error(problem);
    if (problems.length > 0) throw new Error(`${problems.length} problems with the packages`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

async function pack(folder: string, manifest: Manifest, destination: string): Promise<Packed> {
  const printed = JSON.parse(
    await capture('npm', ['pack', '--json', '--pack-destination', destination], { cwd: folder }),
  );
  // An array up to npm 11; by name since.
  const [result] = Object.values(printed) as [{ filename: string; files: { path: string }[]; unpackedSize: number }];
  const files = result.files.map(({ path }) => path).sort();
  return { folder, manifest, tarball: join(destination, result.filename), files, unpackedSize: result.unpackedSize };
}

function wrongContents({ folder, files, unpackedSize }: Packed): string[] {
  const compiled = globSync('**/*.ts', { cwd: join(folder, 'src') }).flatMap((source) =>
    ['.js', '.d.ts'].map((extension) => `dist/${source.replace(/\.ts$/, extension)}`),
  );
  const wanted = ['package.json', 'README.md', 'LICENSE', ...compiled];
  return [
    ...wanted.filter((file) => !files.includes(file)).map((file) => `lacks ${file}`),
    ...files.filter((file) => !wanted.includes(file)).map((file) => `should not contain ${file}`),
    ...(unpackedSize > largestPackage ? [`has ${unpackedSize} bytes`] : []),
    ...(files.includes('LICENSE') && read(join(folder, 'LICENSE')) !== read(join(root, 'LICENSE'))
      ? ['has another LICENSE than the repository']
      : []),
  ];
}

async function wrongManifest({ tarball }: Packed): Promise<string[]> {
  const content = readFileSync(tarball);
  const { messages, pkg } = await publint({ pack: { tarball: new Uint8Array(content).buffer }, strict: true });
  return messages.flatMap((message) => formatMessage(message, pkg, { color: false }) ?? []);
}

async function wrongTypes({ tarball }: Packed): Promise<string[]> {
  try {
    await capture('attw', [tarball, '--profile', 'esm-only', '--format', 'ascii', '--no-color', '--no-emoji']);
    return [];
  } catch (error) {
    return [said(error)];
  }
}

/** Installs the packages in an empty folder and runs and type-checks the programs of scripts/smoke there. */
async function failedPrograms(packed: readonly Packed[], app: string): Promise<string[]> {
  mkdirSync(app);
  writeFileSync(join(app, 'package.json'), '{ "private": true }');
  const options = ['--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline'];
  const { devDependencies } = JSON.parse(read(join(root, 'packages', 'wakame', 'package.json')));
  const clients = clientLibraries.map((library) => `${library}@${devDependencies[library]}`);
  await capture('npm', ['install', ...options, ...packed.map(({ tarball }) => tarball), ...clients], { cwd: app });
  cpSync(join(root, 'scripts', 'smoke'), app, { recursive: true });
  // Like most users of Node and TypeScript, it has the types of Node.
  const typesOfNode = (folder: string) => {
    const link = join(app, 'node_modules', '@types', 'node');
    mkdirSync(join(link, '..'), { recursive: true });
    rmSync(link, { recursive: true, force: true });
    symlinkSync(folder, link);
  };

  const failures: string[] = [];
  const attempt = async (what: string, command: string, args: string[]) => {
    try {
      await capture(command, args, { cwd: app, timeout: 60_000 });
      console.log(`ok     ${what}`);
    } catch (error) {
      console.error(`FAILED ${what}`);
      failures.push(`${what}: ${said(error)}`);
    }
  };
  const brokers = Object.entries(process.env).flatMap(
    ([name, url]) => (/^WAKAME_TEST_[A-Z]+_URL$/.test(name) && url) || [],
  );
  const nodes = new Map([
    [process.version, process.execPath],
    [`v${oldestNode}`, await node(oldestNode)],
    [`v${newestNode}`, await node(newestNode)],
  ]);
  for (const [version, executable] of nodes) {
    for (const program of ['esm.mjs', 'commonjs.cjs']) {
      const urls = [
        'memory://smoke',
        ...brokers,
        ...(Number.parseInt(version.slice(1), 10) >= 24 ? ['sqlite:smoke.db'] : []),
      ];
      await attempt(`${program} on Node ${version}`, executable, [program, ...urls]);
    }
    const wakame = join('node_modules', '@wakame', 'cli', 'dist', 'main.js');
    for (const url of ['memory://smoke', ...brokers]) {
      await attempt(`wakame ping on Node ${version}`, executable, [wakame, '-u', url, 'ping', '--json']);
    }
  }
  await attemptFirstSteps(app, attempt);
  typesOfNode(join(root, 'node_modules', '@types', 'node'));
  await attempt('types', 'tsc', ['-p', 'tsconfig.json']);
  const older = join(await tool('typescript', olderTypeScript), 'bin', 'tsc');
  await attempt(`types by TypeScript ${olderTypeScript}`, 'node', [older, '-p', 'tsconfig.json']);
  typesOfNode(await tool('@types/node', newestNodeTypes));
  await attempt(`types with those of Node ${newestNodeTypes}`, 'tsc', ['-p', 'tsconfig.json']);
  return failures;
}

/** What newcomers are told to do: the programs, and the commands in their order. `npm install` is what was done already. */
async function attemptFirstSteps(
  app: string,
  attempt: (what: string, command: string, args: string[]) => Promise<void>,
): Promise<void> {
  for (const page of ['README.md', 'docs/first-steps.md']) {
    for (const program of programsOf(page).filter(({ run }) => run)) {
      const file = `newcomer-${program.line}.ts`;
      writeFileSync(join(app, file), program.lines.map(({ text }) => text).join('\n'));
      await attempt(`${page}:${program.line}`, process.execPath, [file]);
    }
    const lines = Array.from(read(join(root, page)).matchAll(/^```sh\n(.*?)^```/gms), ([, block = '']) => block);
    const commands = lines
      .join('')
      .split('\n')
      .filter((line) => /^(export|wakame|npx) /.test(line));
    if (commands.length > 0) {
      await attempt(`the commands of ${page}`, 'bash', [
        '-ec',
        `PATH=$PWD/node_modules/.bin:$PATH\n${commands.join('\n')}`,
      ]);
    }
  }
}

function said(error: unknown): string {
  return error instanceof CommandFailed ? `${error.message}\n${error.output}` : String(error);
}

function read(file: string): string {
  return readFileSync(file, 'utf8');
}
