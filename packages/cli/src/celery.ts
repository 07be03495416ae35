/** Celery's remote control commands, with the names of their arguments in order (`celery.worker.control`). */
import { UsageError } from './exit-codes.js';
import { table, value } from './parse.js';

/** Arguments are text. `#name` is read as JSON; `…name` takes all that is left, as a list. */
export const celeryCommands: Readonly<Record<'inspect' | 'control', Readonly<Record<string, readonly string[]>>>> = {
  inspect: {
    active: [],
    active_queues: [],
    clock: [],
    conf: ['#with_defaults'],
    memdump: ['#samples'],
    memsample: [],
    objgraph: ['type', '#num', '#max_depth'],
    ping: [],
    query_task: ['…ids'],
    registered: ['…taskinfoitems'],
    report: [],
    reserved: [],
    revoked: [],
    scheduled: [],
    stats: [],
  },
  control: {
    add_consumer: ['queue', 'exchange', 'exchange_type', 'routing_key'],
    autoscale: ['#max', '#min'],
    cancel_consumer: ['queue'],
    disable_events: [],
    election: ['id', 'topic', 'action'],
    enable_events: [],
    heartbeat: [],
    pool_grow: ['#n'],
    pool_restart: [],
    pool_shrink: ['#n'],
    rate_limit: ['task_name', 'rate_limit'],
    revoke: ['…task_id'],
    revoke_by_stamped_headers: [],
    shutdown: [],
    terminate: ['signal', '…task_id'],
    time_limit: ['task_name', '#soft', '#hard'],
  },
};

/** The arguments of a command by their names. Commands that a worker adds itself take `key=value` only. */
export function celeryArguments(
  kind: 'inspect' | 'control',
  command: string,
  words: readonly string[],
): Record<string, unknown> | undefined {
  const other = kind === 'inspect' ? 'control' : 'inspect';
  if (Object.hasOwn(celeryCommands[other], command)) {
    throw new UsageError(`'${command}' is a command of wakame celery ${other}`);
  }
  const names = Object.hasOwn(celeryCommands[kind], command) ? (celeryCommands[kind][command] ?? []) : [];
  const byName = words.filter((word) => /^[a-z_]+=/.test(word));
  const inOrder = words.filter((word) => !/^[a-z_]+=/.test(word));
  const found: Record<string, unknown> = {};
  for (const [at, name] of names.entries()) {
    const rest = inOrder.slice(at);
    if (rest.length === 0) break;
    if (name.startsWith('…')) found[name.slice(1)] = rest;
    else if (name.startsWith('#')) found[name.slice(1)] = value(rest[0] ?? '');
    else found[name] = rest[0];
  }
  if (inOrder.length > names.length && names.at(-1)?.startsWith('…') !== true) {
    const takes = names.length === 0 ? 'none in order: use key=value' : names.join(', ').replaceAll('#', '');
    throw new UsageError(`'${inOrder[names.length]}' is an argument too many; '${command}' takes ${takes}`);
  }
  const named = table(
    byName.map((word) => ({ key: word.slice(0, word.indexOf('=')), value: word.slice(word.indexOf('=') + 1) })),
  );
  return { ...found, ...named };
}
