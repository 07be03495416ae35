import type { BindingRecord, ExchangeRecord, StoredMessage } from '../driver.js';
import { TopicIndex } from '../wire/topic.js';
import { headersMatcher } from './headers.js';

export const EXCHANGE_TYPES = ['direct', 'fanout', 'topic', 'headers'] as const;
export type ExchangeType = (typeof EXCHANGE_TYPES)[number];

export function isExchangeType(type: string): type is ExchangeType {
  return (EXCHANGE_TYPES as readonly string[]).includes(type);
}

/** The exchanges that every virtual host has from the start (0-9-1 section 3.1.3), with RabbitMQ's `amq.headers`. */
export const PREDECLARED: ReadonlyMap<string, ExchangeType> = new Map([
  ['amq.direct', 'direct'],
  ['amq.fanout', 'fanout'],
  ['amq.topic', 'topic'],
  ['amq.headers', 'headers'],
  ['amq.match', 'headers'],
]);

/** Finds the bindings that take a message. */
interface Index {
  /** Calls `found` for each; one destination may come several times. */
  match(message: StoredMessage, found: (binding: BindingRecord) => void): void;
}

/** An exchange made ready for routing. */
export class CompiledExchange {
  readonly name: string;
  readonly type: ExchangeType;
  readonly record: ExchangeRecord;
  /** Where messages go that no binding takes. */
  readonly alternate: string | undefined;
  /** The same routing key always gives the same: headers are not looked at. */
  readonly byKeyOnly: boolean;
  /** Made for the first message: exchanges are asked for before each declaration, too. */
  #index: Index | undefined;

  constructor(record: ExchangeRecord) {
    this.name = record.name;
    this.record = record;
    // A store may hold what another client called it.
    this.type = isExchangeType(record.type) ? record.type : 'direct';
    const alternate = record.arguments['alternate-exchange'];
    this.alternate = typeof alternate === 'string' ? alternate : undefined;
    this.byKeyOnly = this.type !== 'headers';
  }

  match(message: StoredMessage, found: (binding: BindingRecord) => void): void {
    this.#index ??= makeIndex(this.type, this.record.bindings);
    this.#index.match(message, found);
  }
}

function makeIndex(type: ExchangeType, bindings: readonly BindingRecord[]): Index {
  switch (type) {
    case 'direct':
      return directIndex(bindings);
    case 'fanout':
      return {
        match(_message, found) {
          for (const binding of bindings) found(binding);
        },
      };
    case 'topic':
      return topicIndex(bindings);
    case 'headers':
      return headersIndex(bindings);
  }
}

function directIndex(bindings: readonly BindingRecord[]): Index {
  const byKey = new Map<string, BindingRecord[]>();
  for (const binding of bindings) {
    const same = byKey.get(binding.routingKey);
    if (same === undefined) byKey.set(binding.routingKey, [binding]);
    else same.push(binding);
  }
  return {
    match(message, found) {
      for (const binding of byKey.get(message.routingKey) ?? []) found(binding);
    },
  };
}

function topicIndex(bindings: readonly BindingRecord[]): Index {
  const index = new TopicIndex<BindingRecord>();
  for (const binding of bindings) index.add(binding.routingKey, binding);
  return {
    match(message, found) {
      for (const binding of index.match(message.routingKey)) found(binding);
    },
  };
}

function headersIndex(bindings: readonly BindingRecord[]): Index {
  const matchers = bindings.map((binding) => ({ binding, matches: headersMatcher(binding.arguments) }));
  return {
    match(message, found) {
      for (const { binding, matches } of matchers) if (matches(message.properties.headers)) found(binding);
    },
  };
}
