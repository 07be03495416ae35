/** Calls the service, whoever serves it: node examples/openstack/client.ts rabbit://user:password@host/ */
import { RemoteError, RpcClient, Transport } from '@wakame/oslo';
import { type ComputeApi, topic, url, version } from './api.ts';

await using transport = new Transport(url, { conf: { amqp_auto_delete: true } });
const client = new RpcClient(transport, { topic, version }, { context: { user: 'demo' }, timeout: 10_000 });
const compute = client.for<ComputeApi>();

console.log(`servers: ${await compute.list()}`);
console.log(`server 7: ${await compute.reboot({ id: 7 })}`);
try {
  await compute.reboot({ id: 8, hard: true });
} catch (error) {
  if (!(error instanceof RemoteError)) throw error;
  console.log(`server 8: ${error.className}: ${error.value.split('\n')[0]}`);
}
