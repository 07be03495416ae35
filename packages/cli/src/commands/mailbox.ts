import { buildCommand, buildRouteMap } from '@stricli/core';
import { Mailbox, type Reply } from 'wakame';
import { celeryArguments, celeryCommands } from '../celery.js';
import type { Context } from '../context.js';
import { EXIT, Failure, UsageError } from '../exit-codes.js';
import { argument, type CommonFlags, common, commonAliases, number, text, texts, time } from '../flags.js';
import { printable, toJson } from '../output.js';
import { pair, table } from '../parse.js';
import { type Connected, withConnection } from '../session.js';

interface Flags extends CommonFlags {
  readonly destination?: readonly string[] | undefined;
  readonly pattern?: string | undefined;
}

interface MailboxFlags extends Flags {
  readonly type: 'direct' | 'fanout';
}

type Answer = Pick<Reply, 'hostname' | 'value' | 'error'>;

interface CallFlags {
  readonly timeout?: number | undefined;
  readonly limit?: number | undefined;
}

const sending = {
  ...common,
  destination: texts('node', 'Only this node. May be repeated'),
  pattern: text('pattern', "Only nodes whose name is like this, as 'worker-*'"),
} as const;

const receiving = {
  timeout: time('Wait for one more reply for so long (1s)'),
  limit: number('End after so many replies'),
} as const;

const type = {
  kind: 'enum',
  values: ['direct', 'fanout'] as const,
  default: 'direct',
  brief: 'Type of the exchange; all who use the mailbox say the same',
} as const;

const commandLine = {
  kind: 'array',
  minimum: 2,
  parameter: argument(
    'mailbox command [key=value]...',
    'The mailbox, the command, and its arguments; values are read as JSON',
  ),
} as const;

export const broadcast = buildCommand({
  docs: {
    brief: 'Send a command to the nodes of a mailbox (Kombu: pidbox)',
    customUsage: [
      '[options] <mailbox> <command> [key=value]...',
      { input: 'kitchen print_msg msg=hello', brief: 'To all nodes' },
      { input: 'kitchen reload --destination oven-1', brief: 'To one of them' },
    ],
  },
  parameters: { flags: { ...sending, type }, aliases: { ...commonAliases, d: 'destination' }, positional: commandLine },
  func(this: Context, flags: MailboxFlags, ...[mailbox = '', command = '', ...args]: string[]) {
    return withConnection(this, flags, async ({ connection, out, signal }) => {
      await using(new Mailbox(mailbox, { type: flags.type, connection }), async (box) => {
        await box.broadcast(command, { arguments: namedArguments(args), ...nodesOf(flags), signal });
      });
      await out.result({ sent: command }, () => `sent ${command}`);
    });
  },
});

export const call = buildCommand({
  docs: {
    brief: 'Send a command to the nodes of a mailbox, and print their replies',
    fullDescription: 'Exit code 3 when nobody answered, 1 when a node answered with an error.',
    customUsage: [
      '[options] <mailbox> <command> [key=value]...',
      { input: 'kitchen status', brief: 'Whoever answers within a second' },
      { input: 'kitchen add x=2 y=3 --destination oven-1 --timeout 5s', brief: 'One node, which takes its time' },
    ],
  },
  parameters: {
    flags: { ...sending, ...receiving, type },
    aliases: { ...commonAliases, d: 'destination', t: 'timeout' },
    positional: commandLine,
  },
  func(this: Context, flags: MailboxFlags & CallFlags, ...[mailbox = '', command = '', ...args]: string[]) {
    return withConnection(this, flags, (session) =>
      ask(
        session,
        new Mailbox(mailbox, { type: flags.type, connection: session.connection }),
        flags,
        command,
        namedArguments(args),
      ),
    );
  },
});

function celeryCommand(kind: 'inspect' | 'control') {
  return buildCommand({
    docs: {
      brief: kind === 'inspect' ? 'Ask Celery workers' : 'Command Celery workers',
      fullDescription: `Commands: ${Object.keys(celeryCommands[kind]).join(', ')}.\n\nArguments come in Celery's order, or as key=value.`,
      customUsage: [
        '[options] <command> [argument]...',
        ...(kind === 'inspect'
          ? [
              { input: 'ping', brief: 'Who is there?' },
              { input: 'active --destination celery@host --json', brief: 'What is one of them at?' },
            ]
          : [
              { input: 'rate_limit tasks.add 10/m', brief: 'As with Celery itself' },
              { input: 'revoke 5f0d… terminate=true', brief: 'Arguments by name' },
            ]),
      ],
    },
    parameters: {
      flags: { ...sending, ...receiving },
      aliases: { ...commonAliases, d: 'destination', t: 'timeout' },
      positional: {
        kind: 'array',
        minimum: 1,
        parameter: {
          ...argument('command [argument]...', 'The command and its arguments'),
          proposeCompletions: (partial) => Object.keys(celeryCommands[kind]).filter((name) => name.startsWith(partial)),
        },
      },
    },
    func(this: Context, flags: Flags & CallFlags, ...[command = '', ...args]: string[]) {
      return withConnection(this, flags, (session) => {
        const mailbox = new Mailbox('celery', { type: 'fanout', connection: session.connection });
        const named = celeryArguments(kind, command, args);
        if (command === 'shutdown') return shutDown(session, mailbox, flags);
        return ask(session, mailbox, flags, command, named);
      });
    },
  });
}

export const celery = buildRouteMap({
  routes: { inspect: celeryCommand('inspect'), control: celeryCommand('control') },
  docs: { brief: 'Ask or command Celery workers' },
});

async function ask(
  session: Connected,
  mailbox: Mailbox,
  flags: Flags & CallFlags,
  command: string,
  args: Record<string, unknown> | undefined,
): Promise<void> {
  const { timeout, limit } = flags;
  const options = { arguments: args, reply: true, ...nodesOf(flags), timeout, limit, signal: session.signal } as const;
  await print(session, await using(mailbox, (box) => box.broadcast(command, options)));
}

/** A worker that shuts down does not answer: who is there is asked before. */
async function shutDown(session: Connected, mailbox: Mailbox, flags: Flags & CallFlags): Promise<void> {
  const { timeout, limit } = flags;
  const { signal } = session;
  const told = await using(mailbox, async (box) => {
    const there = await box.broadcast('ping', { reply: true, ...nodesOf(flags), timeout, limit, signal });
    const destination = there.map(({ hostname }) => hostname);
    if (destination.length > 0) await box.broadcast('shutdown', { destination, signal });
    return destination;
  });
  await print(
    session,
    told.map((hostname) => ({ hostname, value: { ok: 'told to shut down' } })),
  );
}

function namedArguments(words: readonly string[]): Record<string, unknown> | undefined {
  try {
    return table(words.map(pair));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function nodesOf({ destination, pattern }: Flags): Pick<Flags, 'destination' | 'pattern'> {
  return destination === undefined ? { pattern } : { destination };
}

async function print({ out }: Connected, replies: readonly Answer[]): Promise<void> {
  if (out.json) await out.line(toJson(replies.map(plain)));
  else for (const reply of replies) await out.line(human(out.colors, reply));
  if (replies.length === 0) throw new Failure('nobody answered', EXIT.nothing);
  const failed = replies.filter(({ error }) => error !== undefined);
  if (failed.length > 0) throw new Failure(`${failed.length} of ${replies.length} answered with an error`);
}

function plain({ hostname, value, error }: Answer): object {
  return error === undefined ? { hostname, value } : { hostname, error };
}

function human({ bold, red }: Connected['out']['colors'], { hostname, value, error }: Answer): string {
  const text = (thing: unknown) =>
    typeof thing === 'string' ? thing : JSON.stringify(JSON.parse(toJson(thing) ?? 'null'), null, 2);
  return `${bold(printable(hostname))}  ${error === undefined ? printable(text(value), { lines: true }) : red(printable(text(error), { lines: true }))}`;
}

async function using<T>(mailbox: Mailbox, use: (mailbox: Mailbox) => Promise<T>): Promise<T> {
  try {
    return await use(mailbox);
  } finally {
    await mailbox.close();
  }
}
