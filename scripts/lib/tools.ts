/** Exact versions of tools that checks need beside those in package.json: they are fetched once, into .cache/tools. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../setup.mjs';
import { capture } from './command.ts';
import { lock } from './lock.mjs';

/** The folder of an npm package at that version. */
export async function tool(name: string, version: string): Promise<string> {
  const folder = join(root, '.cache', 'tools', `${name}-${version}`);
  const installed = join(folder, 'node_modules', name);
  // npm moves a package to its place once it is complete.
  if (existsSync(installed)) return installed;
  const release = await lock(`${folder}.lock`);
  try {
    if (!existsSync(installed)) {
      console.log(`fetching ${name} ${version}`);
      mkdirSync(folder, { recursive: true });
      const options = ['--no-save', '--no-package-lock', '--ignore-scripts', '--no-audit', '--no-fund'];
      await capture('npm', ['install', '--prefix', folder, ...options, `${name}@${version}`], { cwd: folder });
    }
  } finally {
    release?.();
  }
  return installed;
}

/** The executable of a Node. */
export async function node(version: string): Promise<string> {
  // The package `node` needs an install script to fetch one of these.
  const platform = process.platform === 'win32' ? 'win' : process.platform;
  const prefix = process.platform === 'darwin' && process.arch === 'arm64' ? 'node-bin' : 'node';
  const folder = await tool(`${prefix}-${platform}-${process.arch}`, version);
  return join(folder, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
}
