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
  /** Where the tests are, when not where the URL of the broker says. */
  readonly place?: (url: string) => string;
  /** Where the survivor soon gives up the other side, which has taken a message and is gone: ends that harm nobody else. */
  readonly impatient?: (url: string, survivor: Side) => Endpoints;
}

export type Side = 'Node' | 'Python';

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
    peers: ['current', 'previous', 'old'],
    // Whoever sweeps a database takes from everybody in it: the impatient have one of their own.
    place: (url) => new URL('/6', url).href,
    impatient: (url, survivor) => {
      const database = new URL('/7', url).href;
      if (survivor === 'Python') {
        return { node: `${database}?lease=600`, python: database, pythonOptions: { visibility_timeout: 1 } };
      }
      return { node: `${database}?visibility_timeout=1&unacked_restore_interval=0.2`, python: database };
    },
  },
];

/** The columns of the tests with Kombu. */
export const columns: readonly Column[] = transports.flatMap((transport) =>
  transport.peers.map((peer) => ({
    key: `${transport.name} ${peer}`,
    transport,
    peer,
    versions: `Kombu ${peerVersion(peer, 'kombu')}, ${transport.client.title} ${peerVersion(peer, transport.client.distribution)}`,
  })),
);

/** The columns of the tests with oslo.messaging. */
export const osloColumns: readonly Column[] = transports
  .filter(({ name }) => name === 'rabbitmq')
  .map((transport) => ({
    key: `${transport.name} oslo`,
    transport,
    peer: 'oslo',
    versions: `oslo.messaging ${peerVersion('oslo', 'oslo.messaging')}, Kombu ${peerVersion('oslo', 'kombu')}, py-amqp ${peerVersion('oslo', 'amqp')}`,
  }));

/** The column of the tests with services of OpenStack's Mitaka release, whose messages an old Kombu sends. */
export const mitakaColumn: Column = {
  key: 'rabbitmq mitaka',
  transport: transports.find(({ name }) => name === 'rabbitmq')!,
  peer: 'old',
  versions: `the messages of Mitaka's oslo.messaging, by Kombu ${peerVersion('old', 'kombu')}`,
};

/** The columns that a table has in which this one stands. */
export function columnsBeside(key: string): readonly Column[] {
  const tables = [osloColumns, [mitakaColumn], columns];
  return tables.find((table) => table.some((column) => column.key === key)) ?? columns;
}

/** Where a column's tests connect. */
export function endpointsOf({ name, place = (url) => url }: Transport): Endpoints {
  const url = place(brokerUrl(name));
  return { node: url, python: url };
}

/** The same, where the survivor soon gives up a taker who is gone. */
export function impatientEndpointsOf(transport: Transport, survivor: Side): Endpoints {
  return transport.impatient?.(brokerUrl(transport.name), survivor) ?? endpointsOf(transport);
}
