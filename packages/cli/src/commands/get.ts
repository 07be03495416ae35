import { buildCommand } from '@stricli/core';
import { queueNames } from '../completion.js';
import type { Context } from '../context.js';
import { EXIT, Failure } from '../exit-codes.js';
import { argument, type CommonFlags, common, commonAliases, toggle } from '../flags.js';
import { withConnection } from '../session.js';
import { FORMATS, type Format, show } from '../view.js';

interface Flags extends CommonFlags {
  readonly format?: Format | undefined;
  readonly peek: boolean;
}

export const get = buildCommand({
  docs: {
    brief: 'Fetch one message from a queue, without waiting',
    customUsage: [
      '[options] <queue>',
      { input: 'orders', brief: 'Print and acknowledge the next message; exit code 3 when there is none' },
      { input: 'orders --format body > next.json', brief: 'Only the body' },
      { input: 'orders --peek', brief: 'Leave it where it is' },
    ],
  },
  parameters: {
    flags: {
      ...common,
      format: { kind: 'enum', values: FORMATS, optional: true, brief: 'How to print: pretty, json or body' },
      peek: toggle('Leave the message in its place'),
    },
    aliases: { ...commonAliases, f: 'format' },
    positional: {
      kind: 'tuple',
      parameters: [{ ...argument('queue', 'Where to fetch from'), proposeCompletions: queueNames }],
    },
  },
  func(this: Context, flags: Flags, queue: string) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      const channel = connection.channel();
      const delivery = await channel.get(queue, { signal });
      if (delivery === undefined) throw new Failure(`queue '${queue}' is empty`, EXIT.nothing);
      await show(out, flags.format ?? (out.json ? 'json' : 'pretty'), delivery, queue);
      // What is not acknowledged goes back to its place with its channel.
      if (!flags.peek) await channel.ack(delivery.deliveryTag);
      await channel.close();
    });
  },
});
