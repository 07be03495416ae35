/**
 * The options of oslo.messaging that a transport takes, under oslo's names, in oslo's units (seconds) and with oslo's defaults (groups DEFAULT
 * and oslo_messaging_rabbit of its configuration).
 */
import { getFips } from 'node:crypto';
import { hostname } from 'node:os';
import { basename } from 'node:path';
import { InvalidArgumentError } from 'wakame';
import { didYouMean, show, warnOnce } from 'wakame/util';

/** What an option may be: see {@link OsloOptions}. */
type Kind = 'boolean' | 'integer' | 'signed' | 'number' | 'string' | 'list';
type Value = boolean | number | string | readonly string[] | undefined;

interface Definition<T = Value> {
  readonly kind: Kind;
  /** The default. */
  readonly value: T;
  /** Why it has no effect here. Then a value other than the default is warned of once. */
  readonly ignored?: string;
  /** Holds a password: kept out of messages, and of what `inspect` shows. */
  readonly secret?: true;
}

const boolean = (value: boolean): Definition<boolean> => ({ kind: 'boolean', value });
const integer = (value: number): Definition<number> => ({ kind: 'integer', value });
const number = (value: number): Definition<number> => ({ kind: 'number', value });
/** For ever is 0 or less. */
const tries = (value: number): Definition<number> => ({ kind: 'signed', value });
const string = (value: string): Definition<string> => ({ kind: 'string', value });
const unset: Definition<string | undefined> = { kind: 'string', value: undefined };
const list: Definition<readonly string[] | undefined> = { kind: 'list', value: undefined };
const secret = <T>(definition: Definition<T>): Definition<T> => ({ ...definition, secret: true });
const ignored = <T>(definition: Definition<T>, why: string): Definition<T> => ({ ...definition, ignored: why });

const ONE_CONNECTION = 'a transport has one connection, on which everything is multiplexed';

/** Of a host or a process, in the name of a queue. */
const LONGEST_NAME = 64;

const DEFINITIONS = {
  // DEFAULT
  transport_url: secret(unset),
  control_exchange: string('openstack'),
  rpc_response_timeout: number(60),
  executor_thread_pool_size: integer(64),
  rpc_ping_enabled: boolean(false),
  rpc_conn_pool_size: ignored(integer(30), ONE_CONNECTION),
  conn_pool_min_size: ignored(integer(2), ONE_CONNECTION),
  conn_pool_ttl: ignored(integer(1200), ONE_CONNECTION),
  // oslo_messaging_rabbit: queues and exchanges
  amqp_durable_queues: boolean(false),
  amqp_auto_delete: boolean(false),
  rabbit_ha_queues: boolean(false),
  rabbit_quorum_queue: boolean(false),
  rabbit_transient_quorum_queue: boolean(false),
  rabbit_quorum_delivery_limit: integer(0),
  rabbit_quorum_max_memory_length: integer(0),
  rabbit_quorum_max_memory_bytes: integer(0),
  rabbit_transient_queues_ttl: integer(1800),
  rabbit_stream_fanout: boolean(false),
  use_queue_manager: boolean(false),
  hostname: string(hostname().slice(0, LONGEST_NAME)),
  processname: string(basename(process.argv[1] || 'node').slice(0, LONGEST_NAME)),
  // messages
  rabbit_qos_prefetch_count: integer(0),
  kombu_compression: unset,
  kombu_missing_consumer_retry_timeout: number(60),
  direct_mandatory_flag: boolean(true),
  enable_cancel_on_failover: boolean(false),
  // the connection
  ssl: boolean(false),
  ssl_version: string(''),
  ssl_key_file: string(''),
  ssl_cert_file: string(''),
  ssl_ca_file: string(''),
  ssl_enforce_hostname_verification: boolean(true),
  ssl_enforce_fips_mode: boolean(false),
  rabbit_login_method: string('AMQPLAIN'),
  rabbit_retry_interval: number(1),
  rabbit_retry_backoff: number(2),
  rabbit_interval_max: number(30),
  kombu_failover_strategy: string('round-robin'),
  kombu_reconnect_delay: number(1),
  kombu_reconnect_splay: number(0),
  heartbeat_timeout_threshold: integer(60),
  heartbeat_rate: ignored(integer(3), 'a heartbeat is sent twice in each interval'),
  // of releases up to Mitaka: where the broker is, when the URL has no host
  rabbit_host: string('localhost'),
  rabbit_port: integer(5672),
  rabbit_hosts: list,
  rabbit_userid: string('guest'),
  rabbit_password: secret(string('guest')),
  rabbit_virtual_host: string('/'),
  rabbit_max_retries: tries(0),
  fake_rabbit: boolean(false),
} satisfies Record<string, Definition>;

type Definitions = typeof DEFINITIONS;
type Name = keyof Definitions;
type ValueOf<N extends Name> = Definitions[N]['value'];

/** Names that options had in older releases. */
const FORMER = {
  rabbit_use_ssl: 'ssl',
  kombu_ssl_version: 'ssl_version',
  kombu_ssl_keyfile: 'ssl_key_file',
  kombu_ssl_certfile: 'ssl_cert_file',
  kombu_ssl_ca_certs: 'ssl_ca_file',
  kombu_reconnect_timeout: 'kombu_missing_consumer_retry_timeout',
  rabbit_durable_queues: 'amqp_durable_queues',
} as const satisfies Readonly<Record<string, Name>>;
type FormerName = keyof typeof FORMER;

/** Options as a caller gives them: oslo's names, seconds. Text, as in a URL or a file, is understood for each. */
export type OsloOptions = { readonly [N in Name]?: ValueOf<N> | string | undefined } & {
  readonly [N in FormerName]?: ValueOf<(typeof FORMER)[N]> | string | undefined;
};

/** All options, checked, with their defaults. */
export type OsloSettings = { readonly [N in Name]: ValueOf<N> };

/** The names of all options. */
export const OPTION_NAMES: ReadonlySet<string> = new Set(Object.keys(DEFINITIONS));

const TRUE: ReadonlySet<string> = new Set(['true', '1', 'yes', 'on', 't', 'y']);
const FALSE: ReadonlySet<string> = new Set(['false', '0', 'no', 'off', 'f', 'n']);
const LOGIN_METHODS = ['PLAIN', 'AMQPLAIN', 'EXTERNAL', 'RABBIT-CR-DEMO'];

/**
 * Options put together; those of later sources win. Throws INVALID_ARGUMENT for a name that nobody knows, a value of the wrong kind, or options that exclude
 * each other.
 */
export function osloSettings(...sources: readonly Readonly<Record<string, unknown>>[]): OsloSettings {
  const given: Record<string, unknown> = {};
  for (const source of sources) {
    for (const [key, value] of Object.entries(source)) {
      const name = Object.hasOwn(FORMER, key) ? FORMER[key as FormerName] : key;
      if (!OPTION_NAMES.has(name)) {
        throw new InvalidArgumentError(`oslo.messaging has no option '${name}' here${didYouMean(name, OPTION_NAMES)}`);
      }
      if (value !== undefined) given[name] = value;
    }
  }
  const settings: Record<string, unknown> = {};
  for (const [name, definition] of Object.entries(DEFINITIONS) as [Name, Definition][]) {
    const value = given[name] === undefined ? definition.value : read(name, definition, given[name]);
    Object.defineProperty(settings, name, { value, enumerable: definition.secret !== true });
    if (definition.ignored !== undefined && value !== definition.value) {
      warnOnce(`oslo option ${name}`, `oslo.messaging's option '${name}' has no effect: ${definition.ignored}`);
    }
  }
  return checked(settings as OsloSettings);
}

function checked(settings: OsloSettings): OsloSettings {
  const { rabbit_login_method: method, rabbit_port: port, hostname, processname } = settings;
  const exclusive: readonly Name[] = ['rabbit_quorum_queue', 'rabbit_transient_quorum_queue'];
  const quorum = exclusive.find((name) => settings[name]);
  if (quorum !== undefined && settings.rabbit_ha_queues) {
    throw new InvalidArgumentError(`${quorum} and rabbit_ha_queues exclude each other`);
  }
  if (settings.rabbit_stream_fanout) {
    if (settings.rabbit_qos_prefetch_count === 0) {
      throw new InvalidArgumentError('rabbit_stream_fanout needs rabbit_qos_prefetch_count to be above 0');
    }
    if (!settings.rabbit_transient_quorum_queue) {
      throw new InvalidArgumentError('rabbit_stream_fanout needs rabbit_transient_quorum_queue');
    }
  }
  if (!LOGIN_METHODS.includes(method)) {
    throw new InvalidArgumentError(
      `rabbit_login_method must be one of ${LOGIN_METHODS.join(', ')}, not ${show(method)}`,
    );
  }
  if (port < 1 || port > 65_535) throw new InvalidArgumentError(`rabbit_port must be from 1 to 65535, not ${port}`);
  for (const [name, part] of Object.entries({ hostname, processname })) {
    if (part === '' || part.length > LONGEST_NAME || /[/\0]/.test(part)) {
      throw new InvalidArgumentError(
        `${name} must have 1 to ${LONGEST_NAME} characters, and no slash, not ${show(part)}`,
      );
    }
  }
  // What Node was not started for cannot be had later.
  if (settings.ssl_enforce_fips_mode && getFips() !== 1) {
    throw new InvalidArgumentError('ssl_enforce_fips_mode needs Node in FIPS mode: start it with --force-fips');
  }
  return Object.freeze(settings);
}

const WANTED: Readonly<Record<Kind, string>> = {
  boolean: 'true or false',
  integer: 'a whole number of at least 0',
  signed: 'a whole number',
  number: 'a number of at least 0',
  string: 'a string',
  list: 'an array of strings',
};

function read(name: string, { kind, secret }: Definition, value: unknown): Value {
  const text = typeof value === 'string' ? value.trim().toLowerCase() : undefined;
  if (kind === 'string' && typeof value === 'string') return value;
  if (kind === 'list') {
    const items: unknown = typeof value === 'string' ? value.split(',').map((item) => item.trim()) : value;
    const isList = Array.isArray(items) && items.every((item) => typeof item === 'string');
    if (isList) return items.filter((item) => item !== '');
  }
  if (kind === 'boolean') {
    if (typeof value === 'boolean') return value;
    if (text !== undefined && TRUE.has(text)) return true;
    if (text !== undefined && FALSE.has(text)) return false;
  }
  if (kind === 'integer' || kind === 'number' || kind === 'signed') {
    const parsed = text === undefined ? value : /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
    const isNumber = typeof parsed === 'number' && Number.isFinite(parsed) && (kind === 'signed' || parsed >= 0);
    if (isNumber && (kind === 'number' || Number.isSafeInteger(parsed))) return parsed;
  }
  throw new InvalidArgumentError(
    `${name} must be ${WANTED[kind]}, not ${secret ? `of type ${typeof value}` : show(value)}`,
  );
}
