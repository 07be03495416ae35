/** A process that closes everything while a method is at work that will never be done, and a call waits for it. */
import { RpcClient, RpcServer, Transport } from '@wakame/oslo';
import { deferred } from 'wakame/util';

const transport = new Transport('fake://');
const begun = deferred();
const endless = () => {
  begun.resolve();
  return new Promise<never>(() => undefined);
};
await new RpcServer(transport, { topic: 't', server: 's' }, [{ endless }]).start();
const client = new RpcClient(transport, { topic: 't' }, { callMonitorTimeout: 1000 });
const call = client.call('endless').catch((error: Error) => error.message);
await begun.promise;
await transport.close({ timeout: 50 });
console.log(await call);
