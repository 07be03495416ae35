import { buildCommand, buildRouteMap } from '@stricli/core';
import type { BindingEntry, Connection, ExchangeEntry, QueueEntry } from 'wakame';
import type { Context } from '../context.js';
import { type CommonFlags, common, commonAliases, optionalArgument, toggle } from '../flags.js';
import { type Column, toJson } from '../output.js';
import { glob } from '../parse.js';
import { withConnection } from '../session.js';

interface Flags extends CommonFlags {
  readonly all: boolean;
}

/** Queues whose counts are asked for one by one; with more, what the list says has to do. */
const MOST_COUNTED = 200;

const pattern = {
  kind: 'tuple',
  parameters: [optionalArgument('pattern', "Only names like this; '*' is any text, '?' one character")],
} as const;

const traits = (entry: QueueEntry | ExchangeEntry) =>
  [
    entry.durable ? 'durable' : 'transient',
    ...(entry.autoDelete ? ['auto-delete'] : []),
    ...('exclusive' in entry && entry.exclusive ? ['exclusive'] : []),
    ...('internal' in entry && entry.internal ? ['internal'] : []),
    ...Object.entries(entry.arguments).map(
      ([key, value]) => `${key}=${typeof value === 'string' ? value : toJson(value)}`,
    ),
  ].join(' ');

const queues = buildCommand({
  docs: {
    brief: 'List queues, with their messages and consumers',
    customUsage: [
      '[options] [pattern]',
      { input: '', brief: 'All queues' },
      { input: "'orders*' --json", brief: 'Some of them, as JSON' },
    ],
  },
  parameters: { flags: common, aliases: commonAliases, positional: pattern },
  func(this: Context, flags: CommonFlags, name?: string) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      const listed = (await connection.catalog.queues({ signal })).filter(wanted(name, (entry) => entry.name));
      const columns: Column<QueueEntry>[] = [
        { title: 'QUEUE', value: (queue) => queue.name },
        { title: 'MESSAGES', value: (queue) => queue.messageCount ?? '?', right: true },
        { title: 'CONSUMERS', value: (queue) => queue.consumerCount ?? '?', right: true },
        { title: 'IS', value: traits },
      ];
      await out.list(await counted(connection, listed, signal), columns, 'no queues');
    });
  },
});

const exchanges = buildCommand({
  docs: {
    brief: 'List exchanges',
    customUsage: ['[options] [pattern]', { input: '--all', brief: "With the broker's own, named amq.…" }],
  },
  parameters: {
    flags: { ...common, all: toggle("With the broker's own: the default exchange and amq.…") },
    aliases: { ...commonAliases, a: 'all' },
    positional: pattern,
  },
  func(this: Context, flags: Flags, name?: string) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      const all = (await connection.catalog.exchanges({ signal })).filter(wanted(name, (entry) => entry.name));
      const rows = all.filter((entry) => flags.all || !(entry.name === '' || entry.name.startsWith('amq.')));
      const columns: Column<ExchangeEntry>[] = [
        { title: 'EXCHANGE', value: (exchange) => exchange.name || '(default)' },
        { title: 'TYPE', value: (exchange) => exchange.type },
        { title: 'IS', value: traits },
      ];
      await out.list(rows, columns, 'no exchanges');
    });
  },
});

const bindings = buildCommand({
  docs: {
    brief: 'List what exchanges pass on, and where to',
    customUsage: ['[options] [pattern]', { input: 'events', brief: 'Only those of one exchange or queue' }],
  },
  parameters: { flags: common, aliases: commonAliases, positional: pattern },
  func(this: Context, flags: CommonFlags, name?: string) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      const all = await connection.catalog.bindings({ signal });
      const [from, to] = [
        wanted<BindingEntry>(name, (b) => b.source),
        wanted<BindingEntry>(name, (b) => b.destination),
      ];
      const columns: Column<BindingEntry>[] = [
        { title: 'EXCHANGE', value: (binding) => binding.source },
        { title: 'KEY', value: (binding) => binding.routingKey },
        { title: 'TO', value: (binding) => `${binding.destinationType} ${binding.destination}` },
        {
          title: 'ARGUMENTS',
          value: (binding) => (Object.keys(binding.arguments).length === 0 ? '' : toJson(binding.arguments)),
        },
      ];
      await out.list(
        all.filter((binding) => from(binding) || to(binding)),
        columns,
        'no bindings',
      );
    });
  },
});

export const list = buildRouteMap({
  routes: { queues, exchanges, bindings },
  docs: { brief: 'List queues, exchanges or bindings' },
});

function wanted<T>(name: string | undefined, of: (entry: T) => string): (entry: T) => boolean {
  if (name === undefined) return () => true;
  const matches = glob(name);
  return (entry) => matches(of(entry));
}

/** With the counts of this moment: a list may have older ones. A queue that is somebody's own cannot be asked. */
async function counted(
  connection: Connection,
  listed: readonly QueueEntry[],
  signal: AbortSignal,
): Promise<readonly QueueEntry[]> {
  if (listed.length > MOST_COUNTED) return listed;
  const channel = connection.channel();
  const rows: QueueEntry[] = [];
  for (const entry of listed) {
    if (entry.exclusive) {
      rows.push(entry);
      continue;
    }
    try {
      const { messageCount, consumerCount } = await channel.queueDeclare(entry.name, { passive: true, signal });
      rows.push({ ...entry, messageCount, consumerCount });
    } catch (error) {
      signal.throwIfAborted();
      // Gone since it was listed, or on a node that is away.
      if ((error as { code?: unknown }).code !== 'NOT_FOUND') throw error;
    }
  }
  return rows;
}
