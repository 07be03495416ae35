import { buildCommand } from '@stricli/core';
import type { TransportFeatures } from 'wakame';
import type { Context } from '../context.js';
import { type CommonFlags, common, commonAliases } from '../flags.js';
import { printable } from '../output.js';
import { time } from '../parse.js';
import { roundTrip } from '../probe.js';
import { withConnection } from '../session.js';

export const info = buildCommand({
  docs: {
    brief: 'Tell what the broker is and what it can do',
    customUsage: ['[options]', { input: '--json', brief: 'The same for programs' }],
  },
  parameters: { flags: common, aliases: commonAliases },
  func(this: Context, flags: CommonFlags) {
    return withConnection(this, flags, async ({ out, connection, signal }) => {
      const incarnation = await connection.ready({ signal });
      const transport = await connection.loadTransport();
      const features = plain(transport.features);
      const server = incarnation.serverProperties;
      const latency = await roundTrip(connection, signal);
      const told = { url: connection.asUri(), transport: transport.name, server, heartbeat: incarnation.heartbeat };
      const { bold, green, red, dim } = out.colors;
      await out.result({ ...told, latency, features }, () => {
        const product = [server.product, server.version].filter((part) => typeof part === 'string').join(' ');
        const facts = [
          ['url', told.url],
          ['transport', told.transport],
          ['server', printable(product) || 'unknown'],
          ['latency', time(latency)],
          ['heartbeat', told.heartbeat === 0 ? 'none' : time(told.heartbeat)],
        ];
        const can = Object.entries(features).map(([name, value]) => {
          const text = name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
          if (typeof value !== 'boolean')
            return `  ${dim('·')} ${text}: ${Array.isArray(value) ? value.join(', ') : value}`;
          return `  ${value ? green('✓') : red('✗')} ${text}`;
        });
        return [
          ...facts.map(([name = '', value]) => `${bold(name.padEnd(10))} ${value}`),
          bold('features'),
          ...can,
        ].join('\n');
      });
    });
  },
});

/** Without what is not known, and with lists for sets. */
function plain(features: TransportFeatures): Record<string, unknown> {
  const entries = Object.entries(features).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries.map(([name, value]) => [name, value instanceof Set ? [...value].sort() : value]));
}
