import { spawn } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { root } from '../setup.mjs';

/** A checkout with the real setup, a short lock, and an npm that only pretends. */
let checkout: string;

const lockOf = (version: string) =>
  JSON.stringify({
    packages: {
      '': { version: '1.0.0' },
      'packages/a': { version: '1.0.0' },
      'node_modules/a': { resolved: 'packages/a', link: true },
      'node_modules/node': { version: '24.0.0', integrity: 'sha512-n' },
      'node_modules/tool': { version, integrity: `sha512-${version}` },
      'node_modules/tool-for-another-platform': { version, integrity: 'sha512-o', optional: true },
    },
  });

/** As npm does: packages, then a note of what was installed. The optional package is not for this platform. */
const npm = `#!${process.execPath}
const fs = require('node:fs');
fs.appendFileSync('calls', process.argv.slice(2).join(' ') + '\\n');
if (process.env.NPM_FAILS) process.exit(7);
fs.mkdirSync('node_modules/node/bin', { recursive: true });
fs.writeFileSync('node_modules/node/package.json', '{ "version": "999.0.0" }');
if (!process.env.NPM_RUNS_NO_SCRIPTS) fs.writeFileSync('node_modules/node/bin/node', '');
const lock = JSON.parse(fs.readFileSync('package-lock.json', 'utf8'));
delete lock.packages['node_modules/tool-for-another-platform'];
fs.writeFileSync('node_modules/.package-lock.json', JSON.stringify(lock));
`;

beforeEach(() => {
  checkout = mkdtempSync(join(tmpdir(), 'wakame-setup-'));
  mkdirSync(join(checkout, 'scripts', 'lib'), { recursive: true });
  mkdirSync(join(checkout, 'bin'));
  for (const file of ['setup.mjs', 'lib/lock.mjs'])
    cpSync(join(root, 'scripts', file), join(checkout, 'scripts', file));
  writeFileSync(join(checkout, 'package-lock.json'), lockOf('1.0.0'));
  writeFileSync(join(checkout, 'bin', 'npm'), npm);
  chmodSync(join(checkout, 'bin', 'npm'), 0o755);
});

afterEach(() => rmSync(checkout, { recursive: true }));

function setup(variables: NodeJS.ProcessEnv = {}): Promise<{ code: number | null; output: string }> {
  const code = `import { setup } from './scripts/setup.mjs'; console.log('goes on with', await setup());`;
  const PATH = [join(checkout, 'bin'), process.env.PATH].join(delimiter);
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    cwd: checkout,
    env: { ...process.env, PATH, ...variables },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ code: status, output }));
  });
}

function calls(): string[] {
  const file = join(checkout, 'calls');
  return existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
}

describe('setup', () => {
  it('installs what the lock says, once, and goes on with the pinned Node', async () => {
    const pinned = `goes on with ${join(checkout, 'node_modules', 'node', 'bin', 'node')}\n`;
    expect(await setup()).toEqual({ code: 0, output: expect.stringContaining(pinned) });
    expect(calls()).toEqual([expect.stringMatching(/^ci /)]);
    expect(await setup()).toEqual({ code: 0, output: pinned });
    expect(calls()).toHaveLength(1);
  });

  it('installs again when the lock has changed, or when an install was cut short', async () => {
    await setup();
    writeFileSync(join(checkout, 'package-lock.json'), lockOf('1.0.1'));
    expect((await setup()).code).toBe(0);
    expect(calls()).toHaveLength(2);

    rmSync(join(checkout, 'node_modules', '.package-lock.json'));
    expect((await setup()).code).toBe(0);
    expect(calls()).toHaveLength(3);
  });

  it('installs once when several processes want it at the same time', async () => {
    const results = await Promise.all([setup(), setup(), setup()]);
    expect(results.map(({ code }) => code)).toEqual([0, 0, 0]);
    expect(calls()).toHaveLength(1);
  });

  it('fails when npm fails, and tries again the next time', async () => {
    expect(await setup({ NPM_FAILS: '1' })).toEqual({ code: 1, output: expect.stringContaining('exit code 7') });
    expect((await setup()).code).toBe(0);
  });

  it('says what to do where npm may not run install scripts', async () => {
    const { code, output } = await setup({ NPM_RUNS_NO_SCRIPTS: '1' });
    expect(code).toBe(1);
    expect(output).toContain('npm rebuild node --ignore-scripts=false');
  });

  it('does not let npm run on the Node that it replaces', async () => {
    mkdirSync(join(checkout, 'node_modules', '.bin'), { recursive: true });
    const decoy = join(checkout, 'node_modules', '.bin');
    writeFileSync(join(decoy, 'npm'), '#!/bin/sh\nexit 9\n');
    chmodSync(join(decoy, 'npm'), 0o755);
    const PATH = [decoy, join(checkout, 'bin'), process.env.PATH].join(delimiter);
    expect((await setup({ PATH })).code).toBe(0);
  });
});
