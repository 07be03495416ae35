/** The server of a participant: `server.ts <adapter> <url> <topic>`. It says when it is ready, and ends with its standard input. */
import { bare } from './bare.ts';
import type { RpcParticipant } from './protocol.ts';
import { wakame } from './wakame.ts';

export const participants: Readonly<Record<string, RpcParticipant>> = { bare, 'wakame-oslo': wakame };

if (process.argv[1]?.endsWith('server.ts')) {
  const [name = '', url = '', topic = ''] = process.argv.slice(2);
  await participants[name]?.serve(url, topic);
  process.stdin.on('end', () => process.exit()).resume();
  console.log('ready');
}
