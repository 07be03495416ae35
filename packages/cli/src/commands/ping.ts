import { buildCommand } from '@stricli/core';
import type { Context } from '../context.js';
import { type CommonFlags, common, commonAliases, number } from '../flags.js';
import { time } from '../parse.js';
import { roundTrip } from '../probe.js';
import { placeOf, withConnection } from '../session.js';

interface Flags extends CommonFlags {
  readonly count?: number | undefined;
}

export const ping = buildCommand({
  docs: {
    brief: 'Connect, and measure how long the broker takes to answer',
    customUsage: [
      '[options]',
      { input: '-u amqp://guest:guest@localhost//', brief: 'Is it there, and how far away?' },
      { input: '--wait 60s', brief: 'Wait until it is there, as a start-up script does' },
    ],
  },
  parameters: {
    flags: { ...common, count: number('How often to ask (4)') },
    aliases: { ...commonAliases, n: 'count' },
  },
  func(this: Context, flags: Flags) {
    return withConnection(this, flags, async ({ out, connection, signal }) => {
      const host = placeOf(connection);
      const samples: number[] = [];
      for (let i = 0; i < (flags.count ?? 4) && !signal.aborted; i++) {
        samples.push(await roundTrip(connection, signal));
        out.note(`answer ${i + 1} from ${host}: ${time(samples.at(-1) ?? 0)}`);
      }
      const [best = 0, worst = best] = [Math.min(...samples), Math.max(...samples)];
      const average = samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
      await out.result(
        { url: host, answers: samples.length, milliseconds: { best, average, worst } },
        () => `${host} answers: ${time(best)} at best, ${time(average)} on average, ${time(worst)} at worst`,
      );
    });
  },
});
