import { checkBoolean, checkKeys, checkString, show } from 'wakame/util';
import { InvalidTarget } from './errors.js';
import { checkVersion } from './version.js';

/** What a {@link Target} says. */
export interface TargetOptions {
  /** Default: the option `control_exchange`. */
  readonly exchange?: string | undefined;
  /** What a service is called: its servers listen to this. */
  readonly topic?: string | undefined;
  /** Of the interface. Default: none. */
  readonly namespace?: string | undefined;
  /** Of the interface. Default 1.0. */
  readonly version?: string | undefined;
  /** One server of the topic. */
  readonly server?: string | undefined;
  /** All servers of the topic. Default `false`. */
  readonly fanout?: boolean | undefined;
  /** Other namespaces that an endpoint answers to. */
  readonly legacyNamespaces?: readonly string[] | undefined;
}

const KEYS: ReadonlySet<string> = new Set<keyof TargetOptions>([
  ...(['exchange', 'topic', 'namespace', 'version', 'server', 'fanout', 'legacyNamespaces'] as const),
]);

/** Where a message goes, or what a server or an endpoint is for (`oslo_messaging.Target`). Immutable. */
export class Target {
  readonly exchange: string | undefined;
  readonly topic: string | undefined;
  readonly namespace: string | undefined;
  readonly version: string | undefined;
  readonly server: string | undefined;
  readonly fanout: boolean;
  readonly legacyNamespaces: readonly string[];

  /** Throws INVALID_ARGUMENT. */
  constructor(options: TargetOptions = {}) {
    checkKeys('Target', options, KEYS);
    const { exchange, topic, namespace, version, server, fanout, legacyNamespaces = [] } = options;
    this.exchange = exchange === undefined ? undefined : checkString('exchange', exchange);
    this.topic = filled('topic', topic);
    this.namespace = namespace === undefined ? undefined : checkString('namespace', namespace);
    this.version = version === undefined ? undefined : checkVersion('version', version);
    this.server = filled('server', server);
    this.fanout = fanout === undefined ? false : checkBoolean('fanout', fanout);
    this.legacyNamespaces = legacyNamespaces.map((name) => checkString('legacyNamespaces', name));
  }

  /** Takes either. */
  static from(target: Target | TargetOptions): Target {
    return target instanceof Target ? target : new Target(target);
  }

  /** A copy with some members changed; one that is `undefined` stays as it is. */
  with(changes: TargetOptions): Target {
    const given = Object.entries(changes).filter(([, value]) => value !== undefined);
    return new Target({ ...this, ...Object.fromEntries(given) });
  }
}

/** Names queues, so AMQP's bound is theirs. */
function filled(name: string, value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  if (checkString(name, value) !== '' && Buffer.byteLength(value) <= 127) return value;
  throw new InvalidTarget(`${name} must have 1 to 127 bytes, not ${show(value)}`);
}
