/** `@wakame/oslo`. */
import { RpcClient, RpcServer, Transport } from '@wakame/oslo';
import type { RpcParticipant } from './protocol.ts';

const conf = { amqp_auto_delete: true, rabbit_transient_queues_ttl: 60 };

function open(url: string): Transport {
  return new Transport(url.replace(/^amqp:/, 'rabbit:'), { conf });
}

export const wakame: RpcParticipant = {
  async serve(url, topic) {
    const echo = ({ value }: { value: string }) => value;
    await new RpcServer(open(url), { topic, server: 'bench' }, [{ echo }]).start();
  },

  async client(url, topic) {
    const client = new RpcClient(open(url), { topic });
    return { echo: (value) => client.call('echo', { value }) };
  },
};
