import { buildCommand } from '@stricli/core';
import { exchangeNames } from '../completion.js';
import type { Context } from '../context.js';
import { Deliveries } from '../deliveries.js';
import { EXIT, Failure } from '../exit-codes.js';
import { argument, type CommonFlags, common, commonAliases, number, pairs, texts, time } from '../flags.js';
import { type Pair, plural, table } from '../parse.js';
import { withConnection } from '../session.js';
import { FORMATS, type Format, show } from '../view.js';

interface Flags extends CommonFlags {
  readonly key?: readonly string[] | undefined;
  readonly argument?: readonly Pair[] | undefined;
  readonly count?: number | undefined;
  readonly timeout?: number | undefined;
  readonly format?: Format | undefined;
}

export const tail = buildCommand({
  docs: {
    brief: 'Show copies of the messages that pass an exchange',
    fullDescription:
      'Binds a queue of its own to the exchange, which is gone when the command ends. Nobody else misses a message by it.',
    customUsage: [
      '[options] <exchange>',
      { input: 'events', brief: "All that pass: bound with the key '#'" },
      { input: "events --key 'order.*' --key 'payment.#' --json", brief: 'By routing key, as JSON' },
    ],
  },
  parameters: {
    flags: {
      ...common,
      key: texts(
        'key',
        "Routing key to bind with; may be repeated. Default '#', which on a topic exchange is all of them",
      ),
      argument: pairs('Argument to bind with, for a headers exchange. May be repeated'),
      count: number('End after so many messages'),
      timeout: time('End when no message came for so long'),
      format: { kind: 'enum', values: FORMATS, optional: true, brief: 'How to print: pretty, json or body' },
    },
    aliases: { ...commonAliases, k: 'key', n: 'count', t: 'timeout', f: 'format' },
    positional: {
      kind: 'tuple',
      parameters: [{ ...argument('exchange', 'What to listen to'), proposeCompletions: exchangeNames }],
    },
  },
  func(this: Context, flags: Flags, exchange: string) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      const channel = connection.channel();
      const { queue } = await channel.queueDeclare('', { exclusive: true, autoDelete: true, durable: false });
      for (const routingKey of flags.key ?? ['#']) {
        await channel.queueBind({ queue, exchange, routingKey, arguments: table(flags.argument) });
      }
      const deliveries = await Deliveries.open(connection, [queue], { prefetch: 100, idle: flags.timeout, signal });
      out.note(`listening to ${exchange}; Ctrl-C ends it`);
      let shown = 0;
      try {
        while (shown < (flags.count ?? Number.POSITIVE_INFINITY)) {
          const next = await deliveries.next();
          if (next === undefined) break;
          await show(out, flags.format ?? (out.json ? 'json' : 'pretty'), next.delivery);
          await deliveries.channel.ack(next.delivery.deliveryTag);
          shown++;
        }
      } finally {
        await deliveries.close();
      }
      if (!signal.aborted && shown < (flags.count ?? 0)) {
        throw new Failure(`only ${plural(shown, 'message')} came`, EXIT.nothing);
      }
    });
  },
});
