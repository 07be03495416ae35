/**
 * What each promise of `@wakame/oslo` costs one call at a time, from two bare messages upwards:
 *
 *     node bench/oslo/ladder.ts <amqp url> [rounds] [calls]
 *
 * Each rung promises what those before it do, and one thing more. All are measured in turn, so many calls each, in every round; printed is the median call of
 * the quietest tenth of the rounds, in microseconds.
 */
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { type BasicProperties, type Channel, connect } from '@wakame/amqp';
import { deferred } from 'wakame/util';
import { startServer, stopServers } from '../lib/processes.ts';
import { ARGUMENT, type RpcParticipant } from './protocol.ts';
import { wakame } from './wakame.ts';

const RUNGS = [
  ...([
    'two bare messages',
    'a second socket',
    'confirms',
    'expiration',
    'mandatory answers',
    'a topic exchange',
  ] as const),
  ...(['the ack leaves before the method begins', 'the envelope'] as const),
];
type Rung = (typeof RUNGS)[number];

const EXCHANGE = 'bench-ladder';
const LIKE_OSLO = { contentType: 'application/json', contentEncoding: 'utf-8', priority: 0, headers: {} };
/** Its length is all that matters. */
const UNIQUE_ID = '0'.repeat(32);

/** A participant that promises what stands up to this rung. */
function upTo(rung: Rung): RpcParticipant {
  const has = (other: Rung) => RUNGS.indexOf(rung) >= RUNGS.indexOf(other);
  const isSealed = has('the envelope');

  /** A channel to send by, and one to receive by. */
  const open = async (url: string): Promise<readonly [Channel, Channel]> => {
    const receiving = await connect(url);
    const sending = await (has('a second socket') ? await connect(url) : receiving).channel();
    if (has('confirms')) await sending.confirmSelect();
    return [sending, await receiving.channel()];
  };

  return {
    async serve(url, topic) {
      const [sending, receiving] = await open(url);
      await receiving.queueDeclare(topic, { durable: false, autoDelete: true });
      if (has('a topic exchange')) {
        await receiving.exchangeDeclare(EXCHANGE, 'topic', { autoDelete: true });
        await receiving.queueBind({ queue: topic, exchange: EXCHANGE, routingKey: topic });
      }
      const mandatory = has('mandatory answers');
      const answer = (body: Buffer, { correlationId, replyTo = '' }: BasicProperties) => {
        if (!isSealed) {
          void sending.basicPublish('', replyTo, body, { correlationId, deliveryMode: 2 }, { mandatory });
          return;
        }
        const { _msg_id, _reply_q, args } = unseal(body) as {
          _msg_id: string;
          _reply_q: string;
          args: { value: string };
        };
        const reply = { result: args.value, failure: null, ending: true, _msg_id, _unique_id: UNIQUE_ID };
        void sending.basicPublish('', _reply_q, seal(reply), { ...LIKE_OSLO, deliveryMode: 2 }, { mandatory });
      };
      await receiving.basicConsume(topic, {}, ({ deliveryTag, properties, body }) => {
        receiving.basicAck(deliveryTag);
        if (has('the ack leaves before the method begins')) setImmediate(answer, body, properties);
        else answer(body, properties);
      });
    },

    async client(url, topic) {
      const [sending, receiving] = await open(url);
      const { queue: replyTo } = await receiving.queueDeclare('', { exclusive: true, durable: false });
      const waiting = new Map<string, (value: unknown) => void>();
      const settle = (id: string, value: unknown) => {
        waiting.get(id)?.(value);
        waiting.delete(id);
      };
      await receiving.basicConsume(replyTo, {}, ({ deliveryTag, properties, body }) => {
        receiving.basicAck(deliveryTag);
        if (!isSealed) return settle(properties.correlationId ?? '', body.toString());
        const { _msg_id, result } = unseal(body) as { _msg_id: string; result: unknown };
        settle(_msg_id, result);
      });
      const exchange = has('a topic exchange') ? EXCHANGE : '';
      const expiration = has('expiration') ? '60000' : undefined;
      let calls = 0;
      return {
        echo(value) {
          const id = String(++calls);
          const { promise, resolve } = deferred<unknown>();
          waiting.set(id, resolve);
          const request = {
            method: 'echo',
            args: { value },
            _unique_id: UNIQUE_ID,
            _msg_id: id,
            _reply_q: replyTo,
            _timeout: null,
          };
          const body = isSealed ? seal(request) : value;
          const own = isSealed ? LIKE_OSLO : { correlationId: id, replyTo };
          void sending.basicPublish(exchange, topic, body, { ...own, deliveryMode: 2, expiration });
          return promise;
        },
      };
    },
  };
}

function seal(message: object): string {
  return JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': JSON.stringify(message) });
}

function unseal(body: Buffer): unknown {
  return JSON.parse((JSON.parse(body.toString()) as { 'oslo.message': string })['oslo.message']);
}

const participants: ReadonlyMap<string, RpcParticipant> = new Map([
  ...RUNGS.map((rung, i) => [i === 0 ? rung : `+ ${rung}`, upTo(rung)] as const),
  ['@wakame/oslo', wakame],
]);

/** The median of so many calls, one after the other, in microseconds. */
async function block(echo: (value: string) => Promise<unknown>, calls: number): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    if ((await echo(ARGUMENT)) !== ARGUMENT) throw new Error("another call's answer");
    times.push((performance.now() - start) * 1000);
  }
  return at(times, 0.5);
}

function at(values: readonly number[], part: number): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) * part)]!;
}

const [url = '', ...rest] = process.argv.slice(2);
if (rest[0] === 'serve') {
  await participants.get(rest[1] ?? '')?.serve(url, rest[2] ?? '');
  process.stdin.on('end', () => process.exit()).resume();
  console.log('ready');
} else {
  const [rounds = 60, calls = 150] = rest.map(Number);
  const clients = new Map<string, { echo(value: string): Promise<unknown> }>();
  for (const [name, participant] of participants) {
    const topic = `bench-${randomUUID()}`;
    await startServer(fileURLToPath(import.meta.url), [url, 'serve', name, topic]);
    clients.set(name, await participant.client(url, topic));
  }
  const medians = new Map([...clients.keys()].map((name) => [name, [] as number[]]));
  const warmUp = 3;
  for (let round = -warmUp; round < rounds; round++) {
    for (const [name, { echo }] of clients) {
      const median = await block(echo, calls);
      if (round >= 0) medians.get(name)?.push(median);
    }
  }
  const first = at([...medians.values()][0] ?? [], 0.1);
  for (const [name, values] of medians) {
    const quiet = at(values, 0.1);
    console.log(`| ${name.padEnd(43)} | ${quiet.toFixed(0).padStart(4)} | ${(quiet / first).toFixed(2)} |`);
  }
  stopServers();
  process.exit();
}
