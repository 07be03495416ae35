/** A service on an OpenStack bus; Python clients call it: node examples/openstack/service.ts rabbit://user:password@host/ */
import { once } from 'node:events';
import { Notifier, PythonError, type RpcCall, RpcServer, Transport } from '@wakame/oslo';
import { type ComputeApi, topic, url, version } from './api.ts';

await using transport = new Transport(url, { conf: { amqp_auto_delete: true } });
const notifier = new Notifier(transport, { publisherId: 'example.node', topics: 'example-notes' });
const servers = new Map([[7, 'running']]);

class Compute implements ComputeApi {
  readonly target = { version };

  reboot({ id, hard = false }: { readonly id: number; readonly hard?: boolean }, call?: RpcCall): string {
    if (!servers.has(id)) throw new PythonError('LookupError', `no server ${id}`);
    const payload = { id, hard, user: call?.context['user'] };
    // It is sent in its own time; a broker that is away holds nobody up.
    notifier.info('compute.reboot', payload, { context: call?.context }).catch(console.error);
    return hard ? 'restarting' : 'rebooting';
  }

  list(): readonly number[] {
    return [...servers.keys()];
  }
}

const server = new RpcServer(transport, { topic, server: 'node-1' }, [new Compute()]);
await server.start();
console.log('serving');
await once(process, 'SIGINT');
