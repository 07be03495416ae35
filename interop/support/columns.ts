/** The columns of the matrix: each transport with each generation of Python packages. */
import { brokerUrl } from '../../scripts/lib/brokers/environment.ts';
import { type PeerName, peerVersion } from '../../scripts/lib/peers/index.ts';

/** A broker that both sides speak to. */
export interface Transport {
  /** As in `brokerUrl`. */
  readonly name: string;
  readonly title: string;
  /** The Python package that speaks to it. */
  readonly client: { readonly distribution: string; readonly title: string };
  /** Whether its messages are AMQP's own, or Kombu's envelope in a store. */
  readonly native: boolean;
  readonly peers: readonly PeerName[];
  /** What Python is told when it connects. */
  readonly pythonOptions?: Readonly<Record<string, unknown>>;
  /** Where both can be told to give up soon on who has taken a message and is gone: ends that harm nobody else. */
  readonly impatient?: (url: string) => Endpoints;
}

/** Where the two sides of a test connect. */
export interface Endpoints {
  readonly node: string;
  readonly python: string;
  readonly pythonOptions?: Readonly<Record<string, unknown>>;
}

export interface Column {
  /** `rabbitmq current` */
  readonly key: string;
  readonly transport: Transport;
  readonly peer: PeerName;
  /** `Kombu 5.6.2, py-amqp 5.4.0` */
  readonly versions: string;
}

const transports: readonly Transport[] = [
  {
    name: 'rabbitmq',
    title: 'RabbitMQ',
    client: { distribution: 'amqp', title: 'py-amqp' },
    native: true,
    peers: ['current', 'previous', 'old'],
  },
  {
    name: 'redis',
    title: 'Redis',
    client: { distribution: 'redis', title: 'redis-py' },
    native: false,
    peers: ['current', 'old'],
    impatient: (url) => {
      // A database of its own: whoever sweeps there would take from the living of other tests, too.
      const database = new URL('/1', url).href;
      return { node: `${database}?lease=2&visibility_timeout=3&unacked_restore_interval=1`, python: database };
    },
  },
];

export const columns: readonly Column[] = transports.flatMap((transport) =>
  transport.peers.map((peer) => ({
    key: `${transport.name} ${peer}`,
    transport,
    peer,
    versions: `Kombu ${peerVersion(peer, 'kombu')}, ${transport.client.title} ${peerVersion(peer, transport.client.distribution)}`,
  })),
);

/** Where a column's tests connect. */
export function endpointsOf({ name, pythonOptions }: Transport): Endpoints {
  const url = brokerUrl(name);
  return { node: url, python: url, ...(pythonOptions && { pythonOptions }) };
}

/** The same, where takers who are gone are soon given up. */
export function impatientEndpointsOf(transport: Transport): Endpoints {
  return transport.impatient?.(brokerUrl(transport.name)) ?? endpointsOf(transport);
}
