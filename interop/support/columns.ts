/** The columns of the matrix: each transport with each generation of Python packages. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { mysqlDatabaseOfWorker } from '../../packages/wakame/test/sql/support.ts';
import { brokerUrl } from '../../scripts/lib/brokers/environment.ts';
import { type PeerName, peerVersion } from '../../scripts/lib/peers/index.ts';

/** A broker that both sides speak to. */
export interface Transport {
  /** As in `brokerUrl`. */
  readonly name: string;
  readonly title: string;
  /** The Python package that speaks to it; undefined when it takes none. */
  readonly client?: { readonly distribution: string; readonly title: string };
  /** Whether its messages are AMQP's own, or Kombu's envelope in a store. */
  readonly native: boolean;
  readonly peers: readonly PeerName[];
  /** Where the two sides connect, when not both where the URL of the broker says. */
  readonly ends?: () => Endpoints | Promise<Endpoints>;
  /** What Kombu has elsewhere and not here, with the reason that the page gives. */
  readonly lacks?: Lacks;
  /** What an older Kombu lacks besides. */
  readonly lacksWhenOld?: Lacks;
  /** Where the survivor soon gives up the other side, which has taken a message and is gone: ends that harm nobody else. */
  readonly impatient?: (ends: Endpoints, survivor: Side) => Endpoints;
}

export type Side = 'Node' | 'Python';

/**
 * `flag`: that a message which came back says so. `hold`: that a message taken is held, not gone. `removal`: that a message taken does not
 * count any more. `types`: more than JSON's in an envelope.
 */
export type KombuFeature = 'bindings' | 'fanout' | 'priorities' | 'flag' | 'hold' | 'removal' | 'types';

type Lacks = Readonly<Partial<Record<KombuFeature, string>>>;

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
  /** What Kombu has in other columns and not in this one, with the reason. */
  readonly lacks: Lacks;
  /** `Kombu 5.6.2, py-amqp 5.4.0` */
  readonly versions: string;
}

const onDatabase = {
  native: false,
  // Kombu's transport for databases has not changed between these.
  peers: ['current'],
  lacks: {
    bindings: 'Kombu keeps bindings to its process on a database: it publishes to queues by their names',
    fanout: 'Kombu has no fanout on a database, and without it no mailboxes',
    priorities: 'Kombu has no priorities on a database',
    flag: 'Kombu does not see on a database that a message came back',
    types: 'Kombu has no typed values in the envelopes of a database',
    hold: 'What Kombu takes on a database it takes for good',
    removal: 'Kombu leaves the rows of what it took',
  },
  impatient: ({ node, ...ends }: Endpoints) => ({ node: `${node}?lease=1`, ...ends }),
} satisfies Partial<Transport>;

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
    ends: () => at(new URL('/6', brokerUrl('redis')).href),
    impatient: (_, survivor) => {
      const database = new URL('/7', brokerUrl('redis')).href;
      if (survivor === 'Python') {
        return { node: `${database}?lease=600`, python: database, pythonOptions: { visibility_timeout: 1 } };
      }
      return { node: `${database}?visibility_timeout=1&unacked_restore_interval=0.2`, python: database };
    },
  },
  {
    name: 'filesystem',
    title: 'the file system',
    native: false,
    peers: ['current', 'old'],
    lacks: {
      priorities: 'Kombu has no priorities in the file system',
      flag: 'Kombu does not see in the file system that a message came back',
      hold: 'What Kombu takes from the file system it takes for good',
    },
    lacksWhenOld: {
      bindings: 'Kombu before 5.3 keeps bindings to its process in the file system',
      fanout: 'Kombu before 5.3 has no fanout in the file system, and without it no mailboxes',
    },
    ends: () => inFolders('patient'),
    // Whoever sweeps goes by the age of what is held: the impatient have folders of their own.
    impatient: () => inFolders('impatient', { lease: '1' }),
  },
  {
    ...onDatabase,
    name: 'sqlite',
    title: 'SQLite',
    client: { distribution: 'SQLAlchemy', title: 'SQLAlchemy' },
    ends: () => {
      const file = join(folder(), 'interop.db');
      return { node: `sqlite:${file}`, python: `sqla+sqlite:///${file}` };
    },
  },
  {
    ...onDatabase,
    name: 'postgresql',
    title: 'PostgreSQL',
    client: { distribution: 'psycopg2-binary', title: 'SQLAlchemy, psycopg2' },
    ends: () => {
      const url = brokerUrl('postgresql');
      return { node: url, python: url.replace(/^postgres(ql)?:/, 'sqla+postgresql+psycopg2:') };
    },
  },
  ...(['mariadb', 'mysql'] as const).map(
    (name): Transport => ({
      ...onDatabase,
      name,
      title: name === 'mysql' ? 'MySQL' : 'MariaDB',
      client: { distribution: 'PyMySQL', title: 'SQLAlchemy at READ COMMITTED, PyMySQL' },
      ends: async () => {
        // Consumers of Kombu's that share tables have deadlocks with each other there.
        const url = await mysqlDatabaseOfWorker(brokerUrl(name));
        const python = url.replace(/^(mysql|mariadb):/, 'sqla+mysql+pymysql:');
        // Else Kombu counts what was there when it first looked: it leaves its transaction open.
        return { node: url, python, pythonOptions: { isolation_level: 'READ COMMITTED' } };
      },
    }),
  ),
];

function at(url: string): Endpoints {
  return { node: url, python: url };
}

/** Folders of that name, for messages both ways and for control. */
function inFolders(name: string, options: Readonly<Record<string, string>> = {}): Endpoints {
  const data = join(folder(), name, 'data');
  // They are made by whoever sets the two sides up.
  mkdirSync(data, { recursive: true });
  const folders = { data_folder_in: data, data_folder_out: data, control_folder: join(folder(), name, 'control') };
  return {
    node: `filesystem://?${new URLSearchParams({ ...folders, fsync: 'false', ...options })}`,
    python: 'filesystem://',
    pythonOptions: { ...folders, polling_interval: 0.02 },
  };
}

let made: string | undefined;

/** A folder of this process's own. */
function folder(): string {
  if (made === undefined) {
    const path = mkdtempSync(join(tmpdir(), 'wakame-interop-'));
    process.once('exit', () => rmSync(path, { recursive: true, force: true }));
    made = path;
  }
  return made;
}

/** The columns of the tests with Kombu. */
export const columns: readonly Column[] = transports.flatMap((transport) =>
  transport.peers.map((peer) => ({
    key: `${transport.name} ${peer}`,
    transport,
    peer,
    lacks: { ...transport.lacks, ...(peer === 'old' ? transport.lacksWhenOld : undefined) },
    versions: [`Kombu ${peerVersion(peer, 'kombu')}`, ...clientVersion(transport, peer)].join(', '),
  })),
);

function clientVersion({ client }: Transport, peer: PeerName): readonly string[] {
  return client === undefined ? [] : [`${client.title} ${peerVersion(peer, client.distribution)}`];
}

const rabbitmq = transports.find(({ name }) => name === 'rabbitmq')!;

/** The columns of the tests with oslo.messaging. */
export const osloColumns: readonly Column[] = (['oslo', 'oslo-old'] as const).map((peer) => ({
  key: `rabbitmq ${peer}`,
  transport: rabbitmq,
  peer,
  lacks: {},
  versions: `oslo.messaging ${peerVersion(peer, 'oslo.messaging')}, Kombu ${peerVersion(peer, 'kombu')}, py-amqp ${peerVersion(peer, 'amqp')}`,
}));

/** The column of the tests with services of OpenStack's Mitaka release, whose messages an old Kombu sends. */
export const mitakaColumn: Column = {
  key: 'rabbitmq mitaka',
  transport: rabbitmq,
  peer: 'old',
  lacks: {},
  versions: `the messages of Mitaka's oslo.messaging, by Kombu ${peerVersion('old', 'kombu')}`,
};

/** The columns that a table has in which this one stands. */
export function columnsBeside(key: string): readonly Column[] {
  const tables = [osloColumns, [mitakaColumn], columns];
  return tables.find((table) => table.some((column) => column.key === key)) ?? columns;
}

/** Where a column's tests connect. */
export async function endpointsOf({ name, ends = () => at(brokerUrl(name)) }: Transport): Promise<Endpoints> {
  return ends();
}

/** The same, where the survivor soon gives up a taker who is gone. */
export async function impatientEndpointsOf(transport: Transport, survivor: Side): Promise<Endpoints> {
  const ends = await endpointsOf(transport);
  return transport.impatient?.(ends, survivor) ?? ends;
}
