/** The tree of commands. */
import { readFileSync } from 'node:fs';
import { type Application, buildApplication, buildRouteMap, text_en } from '@stricli/core';
import { bench } from './commands/bench.js';
import { completion } from './commands/completion.js';
import { consume } from './commands/consume.js';
import { doctor } from './commands/doctor.js';
import { get } from './commands/get.js';
import { info } from './commands/info.js';
import { list } from './commands/list.js';
import { broadcast, call, celery } from './commands/mailbox.js';
import { ping } from './commands/ping.js';
import { publish } from './commands/publish.js';
import { tail } from './commands/tail.js';
import { bind, declare, purge, remove, unbind } from './commands/topology.js';
import { bridge, copy, move, replay } from './commands/transfer.js';
import type { Context } from './context.js';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

export const app: Application<Context> = buildApplication(
  buildRouteMap({
    routes: {
      ping,
      info,
      publish,
      consume,
      get,
      tail,
      move,
      copy,
      replay,
      bridge,
      list,
      declare,
      delete: remove,
      bind,
      unbind,
      purge,
      broadcast,
      call,
      celery,
      bench,
      doctor,
      completion,
    },
    docs: {
      brief: 'Messages on every broker that Wakame knows',
      fullDescription:
        'Publishes, consumes, moves and inspects messages on RabbitMQ and every other broker that Wakame has a URL for.\n\n' +
        'The broker is named by -u (before or after the command) or by $WAKAME_URL.\n' +
        'Exit codes: 0 done, 1 failed, 2 usage, 3 nothing there, 4 no connection, 5 not found, 130 and 143 stopped by a signal.',
    },
  }),
  {
    name: 'wakame',
    versionInfo: { currentVersion: version },
    scanner: { caseStyle: 'allow-kebab-for-camel', allowArgumentEscapeSequence: true },
    documentation: { caseStyle: 'convert-camel-to-kebab', onlyRequiredInUsageLine: true },
    localization: { text: text_en },
  },
);
