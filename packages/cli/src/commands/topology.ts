import { buildCommand, buildRouteMap } from '@stricli/core';
import { Exchange, Queue } from 'wakame';
import { exchangeNames, queueNames } from '../completion.js';
import { confirm } from '../confirm.js';
import type { Context } from '../context.js';
import { argument, type CommonFlags, common, commonAliases, number, pairs, text, time, toggle } from '../flags.js';
import { type Pair, plural, table } from '../parse.js';
import { placeOf, withConnection } from '../session.js';

const aQueue = { ...argument('queue', 'Its name'), proposeCompletions: queueNames };
const anExchange = { ...argument('exchange', 'Its name'), proposeCompletions: exchangeNames };
const yes = toggle('Do not ask');

// Declare ────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface DeclareFlags extends CommonFlags {
  readonly transient: boolean;
  readonly autoDelete: boolean;
  readonly argument?: readonly Pair[] | undefined;
}

interface DeclareQueueFlags extends DeclareFlags {
  readonly exchange?: string | undefined;
  readonly key?: string | undefined;
  readonly type?: string | undefined;
  readonly messageTtl?: number | undefined;
  readonly expires?: number | undefined;
  readonly maxLength?: number | undefined;
  readonly maxPriority?: number | undefined;
  readonly deadLetterExchange?: string | undefined;
  readonly deadLetterKey?: string | undefined;
}

const declareFlags = {
  ...common,
  transient: toggle('Gone after a restart of the broker'),
  argument: pairs('An argument (x-…=…); the value is read as JSON where it is JSON. May be repeated'),
} as const;

const declareQueue = buildCommand({
  docs: {
    brief: 'Declare a queue',
    fullDescription:
      'Makes the queue, or makes sure that it is as it is asked for: one that stands with other settings is an error.',
    customUsage: [
      '[options] <queue>',
      { input: 'orders', brief: 'A durable queue' },
      { input: 'orders --exchange shop --key order.new', brief: 'Bound to an exchange that exists' },
      {
        input: 'orders --type quorum --dead-letter-exchange "" --dead-letter-key orders.dead',
        brief: 'What is rejected goes to orders.dead',
      },
    ],
  },
  parameters: {
    flags: {
      ...declareFlags,
      autoDelete: toggle('Deleted when its last consumer is gone'),
      exchange: text('exchange', 'Bind it to this exchange'),
      key: text('key', 'The routing key to bind with'),
      type: text('type', 'classic, quorum or stream, on RabbitMQ (x-queue-type)'),
      messageTtl: time('Messages older than this are dropped or dead-lettered'),
      expires: time('The queue is deleted when nobody used it for so long'),
      maxLength: number('Messages at most; the oldest give way'),
      maxPriority: number('The highest priority, up to 255'),
      deadLetterExchange: text('exchange', "Where rejected and expired messages go ('': the default exchange)"),
      deadLetterKey: text('key', 'The routing key that they go with'),
    },
    aliases: { ...commonAliases, e: 'exchange', k: 'key', a: 'argument' },
    positional: { kind: 'tuple', parameters: [aQueue] },
  },
  func(this: Context, flags: DeclareQueueFlags, name: string) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      const extra = {
        'x-queue-type': flags.type,
        'x-dead-letter-exchange': flags.deadLetterExchange,
        'x-dead-letter-routing-key': flags.deadLetterKey,
      };
      const known = Object.fromEntries(Object.entries(extra).filter(([, value]) => value !== undefined));
      const queue = new Queue(name, {
        durable: !flags.transient,
        autoDelete: flags.autoDelete,
        messageTtl: flags.messageTtl,
        expires: flags.expires,
        maxLength: flags.maxLength,
        maxPriority: flags.maxPriority,
        queueArguments: { ...known, ...table(flags.argument) },
      }).bind(connection);
      const { messageCount, consumerCount } = await queue.queueDeclare({ signal });
      if (flags.exchange !== undefined) await queue.bindTo(flags.exchange, { routingKey: flags.key ?? '', signal });
      await out.result({ queue: name, messageCount, consumerCount }, () => {
        const bound = flags.exchange === undefined ? '' : `, bound to ${flags.exchange}`;
        return `queue ${name} stands, with ${plural(messageCount, 'message')} and ${plural(consumerCount, 'consumer')}${bound}`;
      });
    });
  },
});

interface DeclareExchangeFlags extends DeclareFlags {
  readonly type: string;
  readonly internal: boolean;
  readonly alternate?: string | undefined;
}

const declareExchange = buildCommand({
  docs: {
    brief: 'Declare an exchange',
    customUsage: ['[options] <exchange>', { input: 'events --type topic', brief: 'A durable topic exchange' }],
  },
  parameters: {
    flags: {
      ...declareFlags,
      autoDelete: toggle('Deleted when the last binding is gone'),
      type: {
        kind: 'parsed',
        parse: String,
        default: 'direct',
        placeholder: 'type',
        brief: 'direct, topic, fanout or headers',
      },
      internal: toggle('Only other exchanges can publish to it'),
      alternate: text('exchange', 'Where messages go that no binding takes'),
    },
    aliases: { ...commonAliases, t: 'type', a: 'argument' },
    positional: { kind: 'tuple', parameters: [anExchange] },
  },
  func(this: Context, flags: DeclareExchangeFlags, name: string) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      const alternate = flags.alternate === undefined ? {} : { 'alternate-exchange': flags.alternate };
      const exchange = new Exchange(name, {
        type: flags.type,
        durable: !flags.transient,
        autoDelete: flags.autoDelete,
        internal: flags.internal,
        arguments: { ...alternate, ...table(flags.argument) },
      });
      await exchange.bind(connection).declare({ signal });
      await out.result({ exchange: name, type: flags.type }, () => `exchange ${name} of type ${flags.type} stands`);
    });
  },
});

export const declare = buildRouteMap({
  routes: { queue: declareQueue, exchange: declareExchange },
  docs: { brief: 'Declare a queue or an exchange' },
});

// Delete, purge ──────────────────────────────────────────────────────────────────────────────────────────────────────

interface DeleteFlags extends CommonFlags {
  readonly yes: boolean;
  readonly ifUnused: boolean;
}

const ifUnused = toggle('Only while nobody uses it');

const deleteQueue = buildCommand({
  docs: {
    brief: 'Delete queues with their messages',
    customUsage: [
      '[options] <queue>...',
      { input: 'orders.old', brief: 'Asks before it does so' },
      { input: 'orders.old --if-empty --if-unused --yes', brief: 'In a script' },
    ],
  },
  parameters: {
    flags: { ...common, yes, ifUnused, ifEmpty: toggle('Only while it has no messages') },
    aliases: { ...commonAliases, y: 'yes' },
    positional: { kind: 'array', minimum: 1, parameter: aQueue },
  },
  func(this: Context, flags: DeleteFlags & { readonly ifEmpty: boolean }, ...names: string[]) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      const channel = connection.channel();
      for (const name of names) {
        const { messageCount } = await channel.queueDeclare(name, { passive: true, signal });
        const holds = plural(messageCount, 'message');
        await confirm(`Delete queue ${name} with ${holds} at ${placeOf(connection)}?`, flags.yes, this.host, signal);
        const { ifUnused: unused, ifEmpty } = flags;
        const deleted = await channel.queueDelete(name, { ifUnused: unused, ifEmpty, signal });
        await out.result({ queue: name, deleted }, () => `deleted queue ${name} with ${plural(deleted, 'message')}`);
      }
    });
  },
});

const deleteExchange = buildCommand({
  docs: {
    brief: 'Delete exchanges with their bindings',
    customUsage: ['[options] <exchange>...', { input: 'events.old --if-unused --yes', brief: 'In a script' }],
  },
  parameters: {
    flags: { ...common, yes, ifUnused },
    aliases: { ...commonAliases, y: 'yes' },
    positional: { kind: 'array', minimum: 1, parameter: anExchange },
  },
  func(this: Context, flags: DeleteFlags, ...names: string[]) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      const channel = connection.channel();
      for (const name of names) {
        await channel.exchangeDeclare(name, 'direct', { passive: true, signal });
        const question = `Delete exchange ${name} with its bindings at ${placeOf(connection)}?`;
        await confirm(question, flags.yes, this.host, signal);
        await channel.exchangeDelete(name, { ifUnused: flags.ifUnused, signal });
        await out.result({ exchange: name, deleted: true }, () => `deleted exchange ${name}`);
      }
    });
  },
});

export const remove = buildRouteMap({
  routes: { queue: deleteQueue, exchange: deleteExchange },
  docs: { brief: 'Delete queues or exchanges' },
});

export const purge = buildCommand({
  docs: {
    brief: 'Drop the messages that wait in queues',
    fullDescription: 'Messages that a consumer has in hand stay.',
    customUsage: ['[options] <queue>...', { input: 'orders --yes', brief: 'Without asking' }],
  },
  parameters: {
    flags: { ...common, yes },
    aliases: { ...commonAliases, y: 'yes' },
    positional: { kind: 'array', minimum: 1, parameter: aQueue },
  },
  func(this: Context, flags: CommonFlags & { readonly yes: boolean }, ...names: string[]) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      const channel = connection.channel();
      for (const name of names) {
        const { messageCount } = await channel.queueDeclare(name, { passive: true, signal });
        const question = `Drop ${plural(messageCount, 'message')} of queue ${name} at ${placeOf(connection)}?`;
        await confirm(question, flags.yes, this.host, signal);
        const purged = await channel.queuePurge(name, { signal });
        await out.result({ queue: name, purged }, () => `dropped ${plural(purged, 'message')} of queue ${name}`);
      }
    });
  },
});

// Bind ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface BindFlags extends CommonFlags {
  readonly key?: string | undefined;
  readonly argument?: readonly Pair[] | undefined;
  readonly toExchange: boolean;
}

function bindCommand(verb: 'bind' | 'unbind') {
  const past = verb === 'bind' ? 'bound' : 'unbound';
  return buildCommand({
    docs: {
      brief: verb === 'bind' ? 'Make an exchange pass messages on to a queue' : 'Undo a binding',
      customUsage: [
        '[options] <exchange> <queue>',
        { input: "events orders --key 'order.*'", brief: 'By routing key' },
        { input: 'events audit --to-exchange --key "#"', brief: 'The second name is that of an exchange' },
      ],
    },
    parameters: {
      flags: {
        ...common,
        key: text('key', 'The routing key'),
        argument: pairs('An argument, for a headers exchange (x-match=any). May be repeated'),
        toExchange: toggle('The destination is an exchange'),
      },
      aliases: { ...commonAliases, k: 'key', a: 'argument' },
      positional: {
        kind: 'tuple',
        parameters: [anExchange, { ...aQueue, placeholder: 'destination', brief: 'Where to' }],
      },
    },
    func(this: Context, flags: BindFlags, exchange: string, destination: string) {
      return withConnection(this, flags, async ({ connection, out, signal }) => {
        const channel = connection.channel();
        const routingKey = flags.key ?? '';
        const args = table(flags.argument);
        if (flags.toExchange) {
          const binding = { source: exchange, destination, routingKey, arguments: args };
          if (verb === 'bind') await channel.exchangeBind(binding, { signal });
          else await channel.exchangeUnbind(binding, { signal });
        } else {
          const binding = { exchange, queue: destination, routingKey, arguments: args };
          if (verb === 'bind') await channel.queueBind(binding, { signal });
          else await channel.queueUnbind(binding, { signal });
        }
        await out.result(
          { exchange, destination, routingKey, [past]: true },
          () =>
            `${past} ${flags.toExchange ? 'exchange' : 'queue'} ${destination} ${verb === 'bind' ? 'to' : 'from'} ${exchange}`,
        );
      });
    },
  });
}

export const bind = bindCommand('bind');
export const unbind = bindCommand('unbind');
