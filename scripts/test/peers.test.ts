import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { root } from '../setup.mjs';

/** Environments of their own, with nothing in them: the network is not needed. */
const folder = mkdtempSync(join(tmpdir(), 'wakame-peers-'));
const requirements = join(folder, 'old.txt');
const python = join(folder, 'old', 'bin', 'python');

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function peers(args: string[], variables: NodeJS.ProcessEnv = {}): Promise<Result> {
  const command = join(root, 'scripts', 'lib', 'peers', 'main.ts');
  const env = { ...process.env, WAKAME_PEERS_FOLDER: folder, WAKAME_PEERS_REQUIREMENTS: folder, ...variables };
  const child = spawn(process.execPath, [command, ...args], { stdio: ['ignore', 'pipe', 'pipe'], env });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text.stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    text.stderr += chunk;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, ...text }));
  });
}

describe('scripts/peers', () => {
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('says what is wrong, and makes nothing', async () => {
    const unknown = await peers(['up', 'odl']);
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining("no peer is called 'odl'")]);
    expect((await peers([])).stderr).toContain('usage');
    writeFileSync(requirements, '# nothing\n');
    const noPython = await peers(['up', 'old'], { WAKAME_TEST_PYTHON: process.execPath });
    expect([noPython.code, noPython.stderr]).toEqual([2, expect.stringContaining('WAKAME_TEST_PYTHON')]);
    expect((await peers(['status', 'old'])).code).toBe(1);
    expect(existsSync(python)).toBe(false);
  });

  it('makes an environment once, however many ask for it, and knows it to be stale when its list changes', async () => {
    writeFileSync(requirements, '# nothing\n');
    const results = await Promise.all([peers(['up', 'old']), peers(['up', 'old'])]);
    expect(results.map(({ code, stderr }) => code ?? stderr)).toEqual([0, 0]);
    expect(results.map(({ stdout }) => stdout).sort()).toEqual(['old: made\n', 'old: stands\n']);
    expect(await peers(['status', 'old'])).toMatchObject({ code: 0, stdout: 'old: stands\n' });

    writeFileSync(requirements, '# something else\n');
    expect(await peers(['status', 'old'])).toMatchObject({ code: 1, stdout: 'old: missing\n' });

    expect((await peers(['down', 'old'])).code).toBe(0);
    expect(existsSync(python)).toBe(false);
  }, 60_000);
});
