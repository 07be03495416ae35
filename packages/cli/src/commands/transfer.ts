import { buildCommand } from '@stricli/core';
import type { Delivery } from 'wakame';
import { queueNames } from '../completion.js';
import type { Context } from '../context.js';
import { Deliveries } from '../deliveries.js';
import { drain } from '../drain.js';
import { EXIT, Failure, UsageError } from '../exit-codes.js';
import {
  argument,
  type CommonFlags,
  common,
  commonAliases,
  number,
  optionalArgument,
  pairs,
  text,
  time,
  toggle,
} from '../flags.js';
import { comesAgain, type Pair, plural } from '../parse.js';
import { placeOf, session } from '../session.js';
import { filter, forward, type Target } from '../transfer.js';

const filterFlags = {
  header: pairs('Only messages with this header. May be repeated'),
  key: text('pattern', "Only messages whose routing key is like this; '*' is any text"),
} as const;

interface TransferFlags extends CommonFlags {
  readonly toUrl?: string | undefined;
  readonly toExchange?: string | undefined;
  readonly toKey?: string | undefined;
  readonly header?: readonly Pair[] | undefined;
  readonly key?: string | undefined;
  readonly count?: number | undefined;
  readonly dryRun: boolean;
}

function transferCommand(verb: 'move' | 'copy') {
  const past = verb === 'move' ? 'moved' : 'copied';
  return buildCommand({
    docs: {
      brief: `${verb === 'move' ? 'Move' : 'Copy'} the messages of a queue to another queue, exchange or broker`,
      fullDescription: `Takes the messages that are in the queue now, in order, as they are.\n${
        verb === 'move'
          ? 'Each is acknowledged only after the other side has confirmed it: nothing is lost when either broker or this process dies,\nand at worst a message is in both places.'
          : 'The messages stay where they are, marked as redelivered.'
      } Messages that no queue would take stay.`,
      customUsage: [
        '[options] <queue> [destination]',
        { input: 'orders orders.old', brief: 'To another queue' },
        { input: 'orders orders --to-url amqp://other.example//', brief: 'To another broker' },
        { input: 'orders orders.de --header country=de --dry-run', brief: 'How many would it be?' },
        {
          input: 'orders --to-exchange events --count 100',
          brief: 'A hundred, through an exchange, each with its own routing key',
        },
      ],
    },
    parameters: {
      flags: {
        ...common,
        toUrl: text('url', 'The broker of the destination; else the same'),
        toExchange: text('exchange', 'Publish to this exchange instead of a queue'),
        toKey: text('key', "With --to-exchange: the routing key; else each message's own"),
        ...filterFlags,
        count: number('At most so many'),
        dryRun: toggle('Only tell how many messages it would be'),
      },
      aliases: { ...commonAliases, n: 'count', k: 'key' },
      positional: {
        kind: 'tuple',
        parameters: [
          { ...argument('queue', 'Where the messages are'), proposeCompletions: queueNames },
          { ...optionalArgument('destination', 'The queue that they go to'), proposeCompletions: queueNames },
        ],
      },
    },
    func(this: Context, flags: TransferFlags, queue: string, destination?: string) {
      return session(this, flags, async (open) => {
        const { toExchange, toKey, toUrl } = flags;
        if ((destination === undefined) === (toExchange === undefined)) {
          throw new UsageError('where to? Name a queue, or --to-exchange, and not both');
        }
        if (toKey !== undefined && toExchange === undefined) throw new UsageError('--to-key goes with --to-exchange');
        if (destination === queue && toUrl === undefined)
          throw new UsageError('the queue and its destination are the same');
        const from = await open.connect();
        const to = toUrl === undefined ? from : await open.connect(toUrl);
        if (destination !== undefined)
          await to.channel().queueDeclare(destination, { passive: true, signal: open.signal });
        const isMeant = filter(flags);
        const target = ({ routingKey }: Delivery): Target => ({
          exchange: toExchange ?? '',
          routingKey: destination ?? toKey ?? routingKey,
        });
        const { passed, left } = await drain(open, {
          from,
          queue,
          to,
          target: (delivery) => (isMeant(delivery) ? target(delivery) : undefined),
          keep: verb === 'copy',
          dryRun: flags.dryRun,
          count: flags.count ?? Number.POSITIVE_INFINITY,
          verb: past,
        });
        await open.out.result({ [past]: passed, left, dryRun: flags.dryRun }, () =>
          flags.dryRun
            ? `${plural(passed, 'message')} would be ${past}, ${left} left alone`
            : `${past} ${plural(passed, 'message')}${left > 0 ? `, left ${left} alone` : ''}`,
        );
      });
    },
  });
}

export const move = transferCommand('move');
export const copy = transferCommand('copy');

// Replay ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What a broker notes about deaths: a message that gets a new life starts without. */
const DEATH_HEADERS: ReadonlySet<string> = new Set([
  'x-death',
  ...['queue', 'reason', 'exchange'].flatMap((what) => [`x-first-death-${what}`, `x-last-death-${what}`]),
]);

interface ReplayFlags extends CommonFlags {
  readonly viaExchange: boolean;
  readonly header?: readonly Pair[] | undefined;
  readonly key?: string | undefined;
  readonly count?: number | undefined;
  readonly dryRun: boolean;
}

export const replay = buildCommand({
  docs: {
    brief: 'Send dead letters back to the queues they came from',
    fullDescription:
      'Reads in the header x-death of each message where it died last, and puts it back into that queue, without what the broker noted\n' +
      'about its deaths. Messages without such a header stay where they are. As safe as move.',
    customUsage: [
      '[options] <dead-letter-queue>',
      { input: 'orders.dead --dry-run', brief: 'How many could be sent back?' },
      { input: 'orders.dead --count 1', brief: 'One, to see whether it works now' },
      { input: 'orders.dead --via-exchange', brief: 'To the exchange they were published to, for all its queues' },
    ],
  },
  parameters: {
    flags: {
      ...common,
      viaExchange: toggle('Publish to the exchange and key of the beginning, not to the queue alone'),
      ...filterFlags,
      count: number('At most so many'),
      dryRun: toggle('Only tell how many messages it would be'),
    },
    aliases: { ...commonAliases, n: 'count', k: 'key' },
    positional: {
      kind: 'tuple',
      parameters: [{ ...argument('queue', 'Where the dead letters are'), proposeCompletions: queueNames }],
    },
  },
  func(this: Context, flags: ReplayFlags, queue: string) {
    return session(this, flags, async (open) => {
      const connection = await open.connect();
      const isMeant = filter(flags);
      const { passed, left } = await drain(open, {
        from: connection,
        queue,
        to: connection,
        target: (delivery) => (isMeant(delivery) ? origin(delivery, queue, flags.viaExchange) : undefined),
        keep: false,
        dryRun: flags.dryRun,
        count: flags.count ?? Number.POSITIVE_INFINITY,
        verb: 'replayed',
      });
      await open.out.result({ replayed: passed, left, dryRun: flags.dryRun }, () =>
        flags.dryRun
          ? `${plural(passed, 'message')} would be replayed, ${left} left alone`
          : `replayed ${plural(passed, 'message')}${left > 0 ? `, left ${left} alone` : ''}`,
      );
    });
  },
});

/** Where a dead letter came from; undefined: nobody knows, or from this very queue. */
function origin({ properties }: Delivery, here: string, viaExchange: boolean): Target | undefined {
  const deaths = properties.headers?.['x-death'];
  if (!Array.isArray(deaths)) return undefined;
  // The latest death comes first.
  for (const death of deaths as readonly Record<string, unknown>[]) {
    const { queue, exchange, 'routing-keys': keys } = death ?? {};
    if (typeof queue !== 'string' || queue === here) continue;
    const key: unknown = Array.isArray(keys) ? keys[0] : undefined;
    if (!viaExchange) return { exchange: '', routingKey: queue, without: DEATH_HEADERS };
    if (typeof exchange === 'string' && typeof key === 'string') {
      return { exchange, routingKey: key, without: DEATH_HEADERS };
    }
  }
  return undefined;
}

// Bridge ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

interface BridgeFlags {
  readonly json: boolean;
  readonly wait?: number | undefined;
  readonly toKey?: string | undefined;
  readonly header?: readonly Pair[] | undefined;
  readonly key?: string | undefined;
  readonly count?: number | undefined;
  readonly timeout?: number | undefined;
  readonly prefetch?: number | undefined;
}

export const bridge = buildCommand({
  docs: {
    brief: 'Pass on what comes into a queue to an exchange of another broker, for as long as it runs',
    fullDescription:
      'Each message is acknowledged at its source after the other broker has confirmed it. While either broker is away, it waits.\n' +
      'Messages that the filter does not want stay unacknowledged until the end, and count against --prefetch: give them a queue of their own.',
    customUsage: [
      '[options] <from-url> <queue> <to-url> <exchange>',
      { input: 'amqp://here// orders amqp://there// shop', brief: 'Each with its own routing key' },
      { input: "amqp://here// orders amqp://there// '' --to-key orders", brief: 'Straight to a queue there' },
    ],
  },
  parameters: {
    flags: {
      json: common.json,
      wait: common.wait,
      toKey: text('key', "The routing key there; else each message's own"),
      ...filterFlags,
      count: number('End after so many messages'),
      timeout: time('End when no message came for so long; exit code 3 when fewer than --count came'),
      prefetch: number('Messages on their way at one time (200)'),
    },
    aliases: { n: 'count', t: 'timeout', k: 'key' },
    positional: {
      kind: 'tuple',
      parameters: [
        argument('from-url', 'The broker to take from'),
        argument('queue', 'The queue there'),
        argument('to-url', 'The broker to publish to'),
        argument('exchange', "The exchange there; '' is the default one"),
      ],
    },
  },
  func(this: Context, flags: BridgeFlags, fromUrl: string, queue: string, toUrl: string, exchange: string) {
    return session(this, flags, async (open) => {
      const { out, signal } = open;
      const from = await open.connect(fromUrl);
      const to = await open.connect(toUrl);
      const sink = to.channel();
      if (exchange !== '') await sink.exchangeDeclare(exchange, 'direct', { passive: true, signal });
      const isMeant = filter(flags);
      const prefetch = flags.prefetch ?? 200;
      const deliveries = await Deliveries.open(from, [queue], { prefetch, idle: flags.timeout, signal });
      out.note(`passing on ${queue} of ${placeOf(from)} to ${exchange || 'the default exchange'} of ${placeOf(to)}`);
      const underWay = new Set<Promise<void>>();
      let begun = 0;
      let passed = 0;
      let failure: { readonly error: unknown } | undefined;
      const progress = out.progress(() => `passed on ${plural(passed, 'message')}`);
      const pass = async (delivery: Delivery): Promise<void> => {
        await forward(sink, delivery, { exchange, routingKey: flags.toKey ?? delivery.routingKey }, signal);
        if (!(await deliveries.channel.ack(delivery.deliveryTag))) {
          out.warnOfOne(comesAgain);
        }
        passed++;
        progress.tick();
      };
      try {
        while (failure === undefined && begun < (flags.count ?? Number.POSITIVE_INFINITY)) {
          const next = await deliveries.next();
          if (next === undefined) break;
          if (!isMeant(next.delivery)) continue;
          begun++;
          const one = pass(next.delivery)
            .catch((error: unknown) => {
              // Given up because the command ends: the message stays at its source.
              if (error !== signal.reason) failure ??= { error };
              // What waits for the next one need not.
              return deliveries.stop();
            })
            .finally(() => underWay.delete(one));
          underWay.add(one);
        }
        while (underWay.size > 0) await Promise.all(underWay);
      } finally {
        progress.done();
        await deliveries.close();
      }
      if (failure !== undefined) throw failure.error;
      await out.result({ passed }, () => `passed on ${plural(passed, 'message')}`);
      if (!signal.aborted && passed < (flags.count ?? 0)) {
        throw new Failure(`only ${plural(passed, 'message')} came`, EXIT.nothing);
      }
    });
  },
});
