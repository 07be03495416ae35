/**
 * What the compiler knows of mailboxes. Checked by `npm run typecheck`, never run.
 */
import { expectTypeOf, test } from 'vitest';
import type { CommandArguments, Mailbox, Node, Reply, StandardSchemaV1 } from 'wakame';

interface Stats {
  readonly total: number;
}

declare const mailbox: Mailbox;
declare const stats: StandardSchemaV1<unknown, Stats>;

test('replies are unknown, unless a schema says what they are', () => {
  expectTypeOf(mailbox.call(['a'], 'stats')).resolves.toEqualTypeOf<readonly Reply<unknown>[]>();
  expectTypeOf(mailbox.call(['a'], 'stats', {}, { schema: stats })).resolves.toEqualTypeOf<readonly Reply<Stats>[]>();
  expectTypeOf(mailbox.multiCall('stats', { n: 1 }, { limit: 1 })).resolves.toEqualTypeOf<readonly Reply[]>();
  expectTypeOf(mailbox.multiCall('stats', {}, { schema: stats })).resolves.toEqualTypeOf<readonly Reply<Stats>[]>();
  expectTypeOf(mailbox.broadcast('stats')).resolves.toBeUndefined();
  expectTypeOf(mailbox.broadcast('stats', { destination: ['a'] })).resolves.toBeUndefined();
  expectTypeOf(mailbox.broadcast('stats', { reply: true })).resolves.toEqualTypeOf<readonly Reply[]>();
  expectTypeOf(mailbox.broadcast('stats', { reply: true, schema: stats })).resolves.toEqualTypeOf<
    readonly Reply<Stats>[]
  >();
  void mailbox.call(
    ['a'],
    'stats',
    {},
    {
      schema: stats,
      callback: (reply) => expectTypeOf(reply).toEqualTypeOf<Reply<Stats>>(),
    },
  );

  // @ts-expect-error nobody has checked that
  void mailbox.call<Stats>(['a'], 'stats');
  // @ts-expect-error a list of hostnames
  void mailbox.call('a', 'stats');
});

test('a reply is a value or an error', () => {
  const reply = {} as Reply<Stats>;
  if (reply.error === undefined) expectTypeOf(reply.value).toEqualTypeOf<Stats>();
  else expectTypeOf(reply.error).toEqualTypeOf<string>();
});

test('handlers know their state, and with a schema their arguments', () => {
  const node = mailbox.node('a', { state: { n: 1 } });
  expectTypeOf(node).toEqualTypeOf<Node<{ n: number }>>();
  expectTypeOf(mailbox.node()).toEqualTypeOf<Node<undefined>>();
  node.handler('stats', (args, { state, node: self }) => {
    expectTypeOf(args).toEqualTypeOf<CommandArguments>();
    expectTypeOf(args['x']).toBeUnknown();
    expectTypeOf(state).toEqualTypeOf<{ n: number }>();
    expectTypeOf(self).toEqualTypeOf<Node<{ n: number }>>();
  });
  node.handler('stats', ({ total }) => expectTypeOf(total).toBeNumber(), { schema: stats });
  mailbox.node('a', {
    state: new Map<string, number>(),
    handlers: { get: ({ key }, { state }) => expectTypeOf(state.get(String(key))).toEqualTypeOf<number | undefined>() },
  });

  // @ts-expect-error a node that has no state has none of this type
  void mailbox.node<Stats>('a', {});
  // @ts-expect-error arguments that nobody has checked
  node.handler('stats', ({ total }: Stats) => total);
});
