/**
 * Native delayed delivery (`kombu.transport.native_delayed_delivery`): a message is held back by the broker itself, whatever
 * becomes of its publisher.
 *
 * Queues that nobody consumes hold a message for 2^27, 2^26 … 1 seconds. The routing key says in which of them it has to stay:
 * its first 28 words are the delay in binary.
 *
 * ```
 *   publish, 5 s: key 0.….0.1.0.1.<rest>
 *     │
 *     ▼        bit 1: wait 2^n s, then dead-lettered to the next level
 *   celery_delayed_27 ──▶ queue celery_delayed_27 ──┐
 *     │ bit 0                                       │
 *     ▼                                             ▼
 *   celery_delayed_26 … celery_delayed_0 ──▶ celery_delayed_delivery ── #.<rest> ──▶ destination
 * ```
 *
 * The levels are shared with Python. The last step differs. There, `<rest>` is the message's own routing key, and the consumer's
 * queue must be bound to match the long key, which direct exchanges and the default exchange cannot. Here `<rest>` names a
 * queue of ours, one for each exchange and routing key, which dead-letters at once to the exchange with the key that the
 * message was published with: so each exchange type routes as it would have without delay, and nobody need be bound to
 * anything new.
 *
 * What finds no queue when it is due is dropped, `mandatory` or not: nobody waits for it any more.
 *
 * ```
 *   celery_delayed_delivery ── #.wakame_due_… ──▶ queue wakame_due_… (TTL 0) ──▶ exchange, routing key as published
 * ```
 */
import { createHash } from 'node:crypto';
import { InvalidArgumentError, type MessagingError, NotSupportedError } from '../../errors.js';
import type { OutgoingMessage, TransportChannel } from '../../transport/contract.js';
import { show } from '../../util/check.js';
import { noop } from '../../util/noop.js';

/** Levels 27 to 0. */
const LEVELS = 28;
const LONGEST_DELAY = 2 ** LEVELS - 1;
const DELIVERY_EXCHANGE = 'celery_delayed_delivery';

/** The last queue of a message's way lives this much longer than the message may take, in milliseconds … */
const SPARE_LIFE = 2 * 60 * 60 * 1000;
/** … and is declared again after half of that, which lets its time begin anew. */
const DECLARE_AGAIN_AFTER = SPARE_LIFE / 2;
/** RabbitMQ's longest `x-expires`, in milliseconds. */
const LONGEST_EXPIRY = 2 ** 32 - 1;

/** Headers by which RabbitMQ tells that a dead-lettered message goes round in circles, and drops it. */
const DEATH_HEADERS = /^x-(?:death$|(?:first|last)-death-)/;

/**
 * The property `expiration` cannot go with a delay: RabbitMQ would apply it to the waiting already, and takes it off a message that it
 * dead-letters, which is how the message travels.
 */
const EXPIRATION =
  'RabbitMQ cannot keep the expiration of a message that it delays: give the queue that it goes to a messageTtl instead';

interface Host {
  openChannel(
    role: 'consume',
    events: { onClose(error: MessagingError | undefined): void; onReturned(): void },
  ): Promise<TransportChannel>;
}

export class DelayedDelivery {
  readonly #host: Host;
  readonly #queueType: 'quorum' | 'classic';
  #levels: Promise<void> | undefined;
  /** Last queues by name: when they were declared. */
  readonly #declared = new Map<string, { readonly done: Promise<void>; readonly at: number }>();

  constructor(host: Host, queueType: 'quorum' | 'classic') {
    this.#host = host;
    this.#queueType = queueType;
  }

  /**
   * The message as it must be published to arrive not before `notBefore`: whole seconds, rounded up. What it needs on the broker is
   * declared first. Rejects INVALID_ARGUMENT for a delay beyond 2^28 − 1 s, NOT_SUPPORTED for a message with an `expiration`, which
   * the broker would apply to the waiting, and NOT_FOUND when the exchange does not exist.
   */
  async delayed(message: OutgoingMessage, notBefore: number): Promise<OutgoingMessage> {
    const seconds = Math.ceil((notBefore - Date.now()) / 1000);
    if (!(seconds <= LONGEST_DELAY)) {
      const longest = `${LONGEST_DELAY} s`;
      throw notSent(new InvalidArgumentError(`a message can be delayed by ${longest} at most, not ${show(seconds)} s`));
    }
    if (message.properties.expiration !== undefined) {
      throw notSent(new NotSupportedError(EXPIRATION));
    }
    const { exchange, routingKey } = message;
    const destination = dueQueue(exchange, routingKey, seconds);
    try {
      await this.#declareLevels();
      await this.#declareDue(destination, exchange, routingKey);
    } catch (error) {
      throw notSent(error as MessagingError);
    }
    return {
      ...message,
      exchange: levelName(LEVELS - 1),
      routingKey: `${delayWords(seconds)}.${destination.name}`,
      properties: withoutDeaths(message.properties),
    };
  }

  /** Once for each connection: the levels may have been deleted in between. */
  #declareLevels(): Promise<void> {
    this.#levels ??= this.#tryLevels(this.#queueType).catch((error) => {
      this.#levels = undefined;
      throw error;
    });
    return this.#levels;
  }

  async #tryLevels(queueType: 'quorum' | 'classic'): Promise<void> {
    try {
      await this.#onChannel((channel) => declareLevels(channel, queueType));
    } catch (error) {
      // Somebody (Celery, as configured) made them with the other type of queue: those serve as well.
      if ((error as MessagingError).code !== 'PRECONDITION_FAILED') throw error;
      const other = queueType === 'quorum' ? 'classic' : 'quorum';
      await this.#onChannel((channel) => declareLevels(channel, other));
    }
  }

  #declareDue(queue: DueQueue, exchange: string, routingKey: string): Promise<void> {
    const known = this.#declared.get(queue.name);
    if (known !== undefined && Date.now() - known.at < DECLARE_AGAIN_AFTER) return known.done;
    const done = this.#onChannel((channel) => declareDue(channel, queue, exchange, routingKey));
    this.#declared.set(queue.name, { done, at: Date.now() });
    done.catch(() => this.#declared.delete(queue.name));
    return done;
  }

  /** Declarations go over a channel of their own, which a refusal may close. */
  async #onChannel(declare: (channel: TransportChannel) => Promise<void>): Promise<void> {
    const channel = await this.#host.openChannel('consume', { onClose: noop, onReturned: noop });
    try {
      await declare(channel);
    } finally {
      await channel.close();
    }
  }
}

interface DueQueue {
  readonly name: string;
  readonly expires: number | undefined;
}

/**
 * The last queue for an exchange and routing key. It lives twice as long as the longest delay of its level and then some, so that the
 * queues of routing keys used once do not stay for ever; one for delays of weeks does.
 */
function dueQueue(exchange: string, routingKey: string, seconds: number): DueQueue {
  const level = 31 - Math.clz32(Math.max(1, seconds));
  const expires = 2 ** (level + 1) * 1000 + SPARE_LIFE;
  const hash = createHash('sha256').update(`${exchange}\0${routingKey}`).digest('base64url').slice(0, 27);
  return { name: `wakame_due_${level}_${hash}`, expires: expires <= LONGEST_EXPIRY ? expires : undefined };
}

async function declareDue(
  channel: TransportChannel,
  { name, expires }: DueQueue,
  exchange: string,
  routingKey: string,
): Promise<void> {
  // A message that is due to go to an exchange that does not exist would be dropped.
  const exists = exchange === '' ? undefined : channel.exchangeDeclare(exchange, 'direct', { passive: true });
  const args = {
    'x-message-ttl': 0,
    'x-dead-letter-exchange': exchange,
    'x-dead-letter-routing-key': routingKey,
    ...(expires === undefined ? {} : { 'x-expires': expires }),
  };
  const declared = channel.queueDeclare(name, { durable: true, arguments: args });
  const bound = channel.queueBind({ queue: name, exchange: DELIVERY_EXCHANGE, routingKey: `#.${name}` });
  await Promise.all([exists, declared, bound]);
}

/** All requests at once: they are carried out in their order. */
async function declareLevels(channel: TransportChannel, queueType: 'quorum' | 'classic'): Promise<void> {
  const requests: Promise<unknown>[] = [];
  for (let level = LEVELS - 1; level >= 0; level--) {
    const name = levelName(level);
    requests.push(channel.exchangeDeclare(name, 'topic', { durable: true }));
    requests.push(channel.queueDeclare(name, { durable: true, arguments: levelArguments(level, queueType) }));
    requests.push(channel.queueBind({ queue: name, exchange: name, routingKey: `${anyWords(level)}1.#` }));
  }
  requests.push(channel.exchangeDeclare(DELIVERY_EXCHANGE, 'topic', { durable: true }));
  for (let level = LEVELS - 1; level >= 0; level--) {
    const destination = level === 0 ? DELIVERY_EXCHANGE : levelName(level - 1);
    requests.push(channel.exchangeBind({ source: levelName(level), destination, routingKey: `${anyWords(level)}0.#` }));
  }
  await Promise.all(requests);
}

function levelArguments(level: number, queueType: 'quorum' | 'classic'): Record<string, unknown> {
  return {
    'x-queue-type': queueType,
    'x-overflow': 'reject-publish',
    'x-message-ttl': 2 ** level * 1000,
    'x-dead-letter-exchange': level === 0 ? DELIVERY_EXCHANGE : levelName(level - 1),
    ...(queueType === 'quorum' ? { 'x-dead-letter-strategy': 'at-least-once' } : {}),
  };
}

function levelName(level: number): string {
  return `celery_delayed_${level}`;
}

/** The words before that of `level`, any of them. */
function anyWords(level: number): string {
  return '*.'.repeat(LEVELS - 1 - level);
}

/** `0.0.….1.0.1` for 5. */
function delayWords(seconds: number): string {
  return [...seconds.toString(2).padStart(LEVELS, '0')].join('.');
}

function withoutDeaths(properties: OutgoingMessage['properties']): OutgoingMessage['properties'] {
  const { headers } = properties;
  if (headers === undefined || !Object.keys(headers).some((name) => DEATH_HEADERS.test(name))) return properties;
  const kept = Object.fromEntries(Object.entries(headers).filter(([name]) => !DEATH_HEADERS.test(name)));
  return { ...plain(properties), headers: kept };
}

/** Properties of a received message are getters, which spreading would not copy. */
function plain(properties: OutgoingMessage['properties']): OutgoingMessage['properties'] {
  const { toObject } = properties as { toObject?: () => OutgoingMessage['properties'] };
  return typeof toObject === 'function' ? toObject.call(properties) : properties;
}

function notSent(error: MessagingError): MessagingError {
  error.outcome = 'not-sent';
  return error;
}
