import { buildCommand } from '@stricli/core';
import type { MessagingError } from 'wakame';
import type { Context } from '../context.js';
import { examine, type Finding } from '../examination.js';
import { EXIT, Failure } from '../exit-codes.js';
import { type CommonFlags, common, commonAliases } from '../flags.js';
import { printable } from '../output.js';
import { placeOf, session } from '../session.js';

const CURES: Readonly<Record<string, string>> = {
  CONNECT_FAILED:
    'Is the broker running, and are host and port right? A firewall, or a container without a published port, looks like this, too.',
  AUTH_FAILED:
    "Check user and password; characters such as '@', '/' and ':' must be percent-encoded in a URL. RabbitMQ lets guest in from localhost only.",
  VHOST_NOT_FOUND:
    "Check the end of the URL: '//' is the virtual host '/', '/name' the virtual host 'name'. Make it with rabbitmqctl add_vhost, or ask for permissions.",
  TLS_FAILED: 'Name the authority that signed the certificate (ssl_ca_certs), and use the host name that stands in it.',
  ACCESS_REFUSED:
    'Ask for the permissions configure, write and read on this virtual host (rabbitmqctl set_permissions).',
};

export const doctor = buildCommand({
  docs: {
    brief: 'Try what works on this broker, and look for common mistakes',
    fullDescription:
      'Declares, publishes, consumes, confirms and delays with a queue of its own, which is gone afterwards, and looks at what stands there.\n' +
      'Exit code 1 when something does not work; warnings leave it at 0.',
    customUsage: ['[options]', { input: '-u amqp://guest:guest@localhost//', brief: 'Is all well?' }],
  },
  parameters: { flags: common, aliases: commonAliases },
  func(this: Context, flags: CommonFlags) {
    return session(this, flags, async (open) => {
      const { out } = open;
      const found: Finding[] = [];
      const { green, yellow, red, dim } = out.colors;
      const tell = async (finding: Finding) => {
        const { state, what, detail, cure = CURES[finding.code ?? ''] } = finding;
        found.push({ ...finding, ...(cure === undefined ? {} : { cure }) });
        if (out.json) return;
        const mark = { ok: green('✓'), warning: yellow('!'), failed: red('✗') }[state];
        const told = detail === undefined ? '' : `: ${printable(detail)}`;
        await out.line(`${mark} ${what}${told}${cure === undefined || state === 'ok' ? '' : `\n  ${dim(cure)}`}`);
      };
      try {
        const connection = await open.connect();
        await tell({ state: 'ok', what: 'connects', detail: placeOf(connection) });
        for await (const finding of examine(connection, open.signal)) await tell(finding);
      } catch (error) {
        open.signal.throwIfAborted();
        const { message, code } = error as MessagingError;
        await tell({ state: 'failed', what: 'connects', detail: message, code });
      }
      if (out.json) await out.line(JSON.stringify(found));
      const failed = found.filter(({ state }) => state === 'failed');
      if (failed.length === 0) return;
      const unreachable = failed.some(({ what }) => what === 'connects');
      throw new Failure(
        `${failed.length} of ${found.length} checks failed`,
        unreachable ? EXIT.unreachable : EXIT.failed,
      );
    });
  },
});
