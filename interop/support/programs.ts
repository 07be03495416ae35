/** Programs that tests start beside themselves. */

import { capture } from '../../scripts/lib/command.ts';
import { type PeerName, peerPython } from '../../scripts/lib/peers/index.ts';

/** For Node: runs TypeScript that imports the packages, without a build. */
export const runTypeScript: readonly string[] = [
  '--import',
  new URL('../../packages/wakame/test/support/source-loader.mjs', import.meta.url).href,
];

/** Runs Python to its end, and gives what it printed. */
export function capturePython(
  peer: PeerName,
  args: readonly string[],
  settings: Readonly<Record<string, string>> = {},
): Promise<string> {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...settings };
  return capture(peerPython(peer), args, { env, timeout: 30_000 });
}
