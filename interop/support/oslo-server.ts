/** A server that a test kills: `oslo-server.ts <url> <topic> <server>`. */
import { setTimeout as sleep } from 'node:timers/promises';
import { RpcServer, Transport } from '@wakame/oslo';

const [url = '', topic = '', server = ''] = process.argv.slice(2);

const work = async ({ value, seconds }: { value: number; seconds: number }) => {
  await sleep(seconds * 1000);
  return value;
};

const rpc = new RpcServer(new Transport(url), { topic, server }, [{ work }]);
// Those of callers that are gone, when the test is over.
rpc.on('answerLost', () => undefined);
await rpc.start();
process.stdin.on('end', () => process.exit()).resume();
console.log('ready');
