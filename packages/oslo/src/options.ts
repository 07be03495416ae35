/**
 * The options of oslo.messaging that a transport takes, under oslo's names, in oslo's units (seconds) and with oslo's defaults (groups DEFAULT
 * and oslo_messaging_rabbit of its configuration).
 */
import { InvalidArgumentError } from 'wakame';
import { didYouMean, show, warnOnce } from 'wakame/util';

/** What an option may be: see {@link OsloOptions}. */
type Kind = 'boolean' | 'integer' | 'number' | 'string';

interface Definition<T = boolean | number | string | undefined> {
  readonly kind: Kind;
  /** The default. */
  readonly value: T;
  /** Why it has no effect here. Then a value other than the default is warned of once. */
  readonly ignored?: string;
}

const boolean = (value: boolean): Definition<boolean> => ({ kind: 'boolean', value });
const integer = (value: number): Definition<number> => ({ kind: 'integer', value });
const number = (value: number): Definition<number> => ({ kind: 'number', value });
const string = (value: string): Definition<string> => ({ kind: 'string', value });
const unset: Definition<string | undefined> = { kind: 'string', value: undefined };
const ignored = <T>(definition: Definition<T>, why: string): Definition<T> => ({ ...definition, ignored: why });

const ONE_CONNECTION = 'a transport has one connection, on which everything is multiplexed';
const OWN_PACE = 'the connection paces its tries by itself';

const DEFINITIONS = {
  // DEFAULT
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
  rabbit_login_method: string('AMQPLAIN'),
  rabbit_retry_interval: number(1),
  rabbit_retry_backoff: number(2),
  rabbit_interval_max: number(30),
  kombu_failover_strategy: string('round-robin'),
  kombu_reconnect_delay: ignored(number(1), OWN_PACE),
  kombu_reconnect_splay: ignored(number(0), OWN_PACE),
  heartbeat_timeout_threshold: integer(60),
  heartbeat_rate: ignored(integer(3), 'a heartbeat is sent twice in each interval'),
} satisfies Record<string, Definition>;

type Definitions = typeof DEFINITIONS;
type Name = keyof Definitions;
type ValueOf<N extends Name> = Definitions[N]['value'];

/** Options as a caller gives them: oslo's names, seconds. Text, as in a URL or a file, is understood for each. */
export type OsloOptions = { readonly [N in Name]?: ValueOf<N> | string | undefined };

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
    for (const [name, value] of Object.entries(source)) {
      if (!OPTION_NAMES.has(name)) {
        throw new InvalidArgumentError(`oslo.messaging has no option '${name}' here${didYouMean(name, OPTION_NAMES)}`);
      }
      if (value !== undefined) given[name] = value;
    }
  }
  const settings: Record<string, unknown> = {};
  for (const [name, definition] of Object.entries(DEFINITIONS) as [Name, Definition][]) {
    const value = given[name] === undefined ? definition.value : read(name, definition.kind, given[name]);
    settings[name] = value;
    if (definition.ignored !== undefined && value !== definition.value) {
      warnOnce(`oslo option ${name}`, `oslo.messaging's option '${name}' has no effect: ${definition.ignored}`);
    }
  }
  return checked(settings as OsloSettings);
}

function checked(settings: OsloSettings): OsloSettings {
  const { rabbit_quorum_queue: quorum, rabbit_ha_queues: ha, rabbit_login_method: method } = settings;
  if (quorum && ha) throw new InvalidArgumentError('rabbit_quorum_queue and rabbit_ha_queues exclude each other');
  if (!LOGIN_METHODS.includes(method)) {
    throw new InvalidArgumentError(
      `rabbit_login_method must be one of ${LOGIN_METHODS.join(', ')}, not ${show(method)}`,
    );
  }
  return Object.freeze(settings);
}

const WANTED: Readonly<Record<Kind, string>> = {
  boolean: 'true or false',
  integer: 'a whole number of at least 0',
  number: 'a number of at least 0',
  string: 'a string',
};

function read(name: string, kind: Kind, value: unknown): boolean | number | string {
  const text = typeof value === 'string' ? value.trim().toLowerCase() : undefined;
  if (kind === 'string' && typeof value === 'string') return value;
  if (kind === 'boolean') {
    if (typeof value === 'boolean') return value;
    if (text !== undefined && TRUE.has(text)) return true;
    if (text !== undefined && FALSE.has(text)) return false;
  }
  if (kind === 'integer' || kind === 'number') {
    const parsed = text === undefined ? value : /^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;
    const isNumber = typeof parsed === 'number' && Number.isFinite(parsed) && parsed >= 0;
    if (isNumber && (kind === 'number' || Number.isSafeInteger(parsed))) return parsed;
  }
  throw new InvalidArgumentError(`${name} must be ${WANTED[kind]}, not ${show(value)}`);
}
