import { RecoverableConnectionError } from '../../errors.js';
import type { QueueStat } from '../virtual/driver.js';
import { MemoryBroker } from './broker.js';

/**
 * The brokers of this process by name. They outlive their connections, as a broker does: what was published by one connection waits for the
 * next. `resetMemory` makes an end.
 */
const brokers = new Map<string, MemoryBroker>();

/** Kombu's programs say `memory://localhost//` as well as `memory://`. */
const DEFAULT_NAMES: ReadonlySet<string> = new Set(['', 'localhost']);

/** Name and virtual host as one: `orders`, `orders/test`; the default broker is ''. */
function brokerName(hostname: string | undefined, virtualHost: string | undefined): string {
  const name = DEFAULT_NAMES.has(hostname ?? '') ? '' : (hostname ?? '');
  return virtualHost === undefined || virtualHost === '/' || virtualHost === '' ? name : `${name}/${virtualHost}`;
}

/** The same from how it stands in a URL behind `memory://`. */
function nameInUrl(text: string): string {
  const slash = text.indexOf('/');
  return slash < 0 ? brokerName(text, undefined) : brokerName(text.slice(0, slash), text.slice(slash + 1));
}

function named(name: string): MemoryBroker {
  let broker = brokers.get(name);
  if (broker === undefined) {
    broker = new MemoryBroker(name);
    brokers.set(name, broker);
  }
  return broker;
}

/** The broker that a connection's host and virtual host mean; made when it is not there. */
export function brokerFor(hostname: string | undefined, virtualHost: string | undefined): MemoryBroker {
  return named(brokerName(hostname, virtualHost));
}

/** A broker in this process, seen from outside: for tests. */
export interface MemoryBrokerControl {
  /** As in `memory://name`; with `/virtual-host` when there is one. The default broker is ''. */
  readonly name: string;
  /** How many connections are open. */
  readonly connectionCount: number;
  /** Every queue with its number of ready messages and consumers. */
  queues(): QueueStat[];
  /** All connections are lost, as if the network had failed. They may connect again at once. What they hold stays held for them. */
  disconnect(): void;
  /** As `disconnect`, and nobody can connect (CONNECT_FAILED) until `start`. Nothing stored is lost. */
  stop(): void;
  /** Undoes `stop`: connecting succeeds again. */
  start(): void;
}

/**
 * The control of a broker in this process.
 *
 * @param name As in a URL behind `memory://`: `orders`, or `orders/vhost`. Default: the default broker.
 */
export function memoryBroker(name = ''): MemoryBrokerControl {
  const key = nameInUrl(name);
  const broker = () => named(key);
  const disconnect = () => broker().loseAll(new RecoverableConnectionError(`memory://${key} dropped the connection`));
  return {
    name: key,
    get connectionCount() {
      return broker().sessionCount;
    },
    queues() {
      const queues = broker().list();
      return queues.map((queue) => broker().stat(queue)).filter((stat) => stat !== undefined);
    },
    disconnect,
    stop() {
      broker().stopped = true;
      disconnect();
    },
    start() {
      broker().stopped = false;
    },
  };
}

/**
 * Puts a broker back to how it began: no queues, exchanges or messages, and started. Its connections are lost, and find it empty when they
 * connect again, as after the restart of a broker that keeps nothing.
 *
 * @param name As for {@link memoryBroker}. Default: all of them.
 */
export function resetMemory(name?: string): void {
  const keys = name === undefined ? [...brokers.keys()] : [nameInUrl(name)];
  for (const key of keys) {
    const broker = brokers.get(key);
    if (broker === undefined) continue;
    broker.stopped = false;
    broker.clear();
    broker.loseAll(new RecoverableConnectionError(`memory://${key} was reset`));
    if (broker.isIdle) brokers.delete(key);
  }
}
