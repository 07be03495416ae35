import type { StoredMessage } from '../virtual/driver.js';
import { decodeEnvelope, type Envelope } from '../virtual/wire/index.js';
import type { Link } from './link.js';
import { EnvelopeWriter, NOTE, stepOf } from './messages.js';
import type { RedisSettings } from './options.js';
import type { ScriptName } from './scripts.js';

export interface FanoutOptions {
  readonly settings: RedisSettings;
  readonly commands: Link;
  readonly news: Link;
  readonly run: (name: ScriptName, args: (string | number)[]) => Promise<unknown>;
  /** The fanout exchanges that a queue is bound to, and the keys. */
  readonly bindings: (queue: string) => Promise<readonly { readonly exchange: string; readonly routingKey: string }[]>;
  readonly problem: (error: unknown) => void;
}

/** A binding, as long as its queue is consumed here. */
interface Ear {
  readonly exchange: string;
  readonly queue: string;
}

/** What tells our announcements from the broadcasts of others: their queues have the message already. */
const ANNOUNCED = 's';

/**
 * Fanout exchanges, with Python on the other side. Queues of ours get what is published as from any exchange, stored. Kombu has only
 * pub/sub: what we publish is announced there, and what Python publishes there is stored in the queues that are consumed here.
 *
 * ```
 *   we publish ──┬─▶ lists of our queues
 *                └─▶ PUBLISH ──▶ Python's consumers          (ours hear it, and know that they have it)
 *   Python publishes ─▶ PUBLISH ──▶ each of our connections ──▶ one copy into the list of each queue
 * ```
 */
export class Fanout {
  readonly #options: FanoutOptions;
  readonly #writer: EnvelopeWriter;
  /** By pattern, in the form in which the server names it. */
  readonly #ears = new Map<string, Ear[]>();
  /** Consumed queues with the number of their consumers. */
  readonly #consumed = new Map<string, number>();
  /** Those of them whose bindings others tell us of. */
  readonly #watched = new Set<string>();
  #relays: string[] = [];
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: FanoutOptions) {
    this.#options = options;
    this.#writer = new EnvelopeWriter(options.settings.bodyEncoding);
  }

  /** For each message: how many subscribers heard it. */
  async announce(messages: readonly StoredMessage[], exchanges: readonly string[]): Promise<readonly number[]> {
    const { commands } = this.#options;
    const texts = messages.map((message) => this.#announcement(message));
    this.#writer.forget();
    const heard = texts.map((text, i) => {
      const channel = this.#channel(exchanges[i] as string, messages[i]?.routingKey ?? '');
      return commands.call('PUBLISH', channel, text);
    });
    return (await Promise.all(heard)).map(Number);
  }

  #announcement(message: StoredMessage): string {
    return `${this.#writer.write(message).slice(0, -2)},"${NOTE}":"${ANNOUNCED}"}}`;
  }

  /** Queues are consumed from now on. Resolves when everything broadcast to them is heard. */
  async attached(queues: readonly string[]): Promise<void> {
    for (const queue of queues) this.#consumed.set(queue, (this.#consumed.get(queue) ?? 0) + 1);
    await this.#update(queues);
  }

  /** Queues were deleted, their consumers with them. Never rejects. */
  async gone(queues: readonly string[]): Promise<void> {
    const ended = queues.filter((queue) => this.#consumed.delete(queue));
    await this.#update(ended).catch((error: unknown) => this.#options.problem(error));
  }

  async detached(queues: readonly string[]): Promise<void> {
    const ended: string[] = [];
    for (const queue of queues) {
      const left = (this.#consumed.get(queue) ?? 0) - 1;
      if (left > 0) this.#consumed.set(queue, left);
      else if (this.#consumed.delete(queue)) ended.push(queue);
    }
    await this.#update(ended);
  }

  /** Bindings of these queues changed; of any, without a list. */
  async bindingsChanged(queues: readonly string[] | undefined): Promise<void> {
    if (this.#consumed.size === 0) return;
    await this.#update((queues ?? [...this.#consumed.keys()]).filter((queue) => this.#consumed.has(queue)));
  }

  /** Something was said on a channel: perhaps that a queue has other bindings. */
  rebound(channel: string): void {
    if (!channel.startsWith(this.#reboundPrefix)) return;
    const queue = channel.slice(this.#reboundPrefix.length);
    this.bindingsChanged([queue]).catch((error: unknown) => this.#options.problem(error));
  }

  /** What was said on a channel. */
  heard(pattern: string, text: string): void {
    const ears = this.#ears.get(pattern);
    if (ears === undefined) return;
    let envelope: Envelope;
    try {
      envelope = decodeEnvelope(text);
    } catch (error) {
      return this.#options.problem(error);
    }
    if (String(envelope.extra?.[NOTE] ?? '').includes(ANNOUNCED)) return;
    const step = stepOf(envelope.properties.priority, this.#options.settings.steps);
    for (const { exchange, queue } of ears) {
      // The channel of `a/b` is that of `a` with the key `b`.
      if (envelope.exchange !== '' && envelope.exchange !== exchange) continue;
      if (this.#relays.length === 0) queueMicrotask(() => this.#relay());
      this.#relays.push(queue, text, String(step), envelope.deliveryTag);
    }
  }

  #relay(): void {
    const relays = this.#relays;
    this.#relays = [];
    this.#options.run('RELAY', relays).catch((error: unknown) => this.#options.problem(error));
  }

  /** One update after the other: each makes the subscriptions what they ought to be then. */
  #update(queues: readonly string[]): Promise<void> {
    if (queues.length === 0) return Promise.resolve();
    const update = this.#turn.then(() => this.#subscribe([...new Set(queues)]));
    this.#turn = update.catch(() => undefined);
    return update;
  }

  async #subscribe(queues: readonly string[]): Promise<void> {
    const { bindings, news } = this.#options;
    // Before the bindings are read: none that comes later is missed.
    await this.#watch(queues);
    const found = await Promise.all(
      queues.map(async (queue) =>
        this.#consumed.has(queue) ? { queue, bound: await bindings(queue) } : { queue, bound: [] },
      ),
    );
    const before = new Set(this.#ears.keys());
    const changed = new Set(queues);
    for (const [pattern, ears] of this.#ears) {
      const rest = ears.filter(({ queue }) => !changed.has(queue));
      if (rest.length > 0) this.#ears.set(pattern, rest);
      else this.#ears.delete(pattern);
    }
    for (const { queue, bound } of found) {
      for (const { exchange, routingKey } of bound) {
        for (const pattern of this.#patterns(exchange, routingKey)) {
          const ears = this.#ears.get(pattern) ?? [];
          if (!ears.some((ear) => ear.queue === queue && ear.exchange === exchange)) ears.push({ exchange, queue });
          this.#ears.set(pattern, ears);
        }
      }
    }
    const added = [...this.#ears.keys()].filter((pattern) => !before.has(pattern));
    const removed = [...before].filter((pattern) => !this.#ears.has(pattern));
    await Promise.all([
      ...added.map((pattern) => news.call('psubscribe', pattern)),
      ...removed.map((pattern) => news.call('punsubscribe', pattern)),
    ]);
  }

  async #watch(queues: readonly string[]): Promise<void> {
    const { news } = this.#options;
    const channels = (some: readonly string[]) => some.map((queue) => this.#reboundPrefix + queue);
    const added = queues.filter((queue) => this.#consumed.has(queue) && !this.#watched.has(queue));
    const removed = queues.filter((queue) => !this.#consumed.has(queue) && this.#watched.delete(queue));
    for (const queue of added) this.#watched.add(queue);
    await Promise.all([
      added.length > 0 && news.call('subscribe', ...channels(added)),
      removed.length > 0 && news.call('unsubscribe', ...channels(removed)),
    ]);
  }

  get #reboundPrefix(): string {
    return `${this.#options.settings.prefix}_wakame.rebound.`;
  }

  #channel(exchange: string, routingKey: string): string {
    const { prefix, fanoutPrefix, fanoutPatterns } = this.#options.settings;
    const base = `${prefix}${fanoutPrefix}${exchange}`;
    return routingKey !== '' && fanoutPatterns ? `${base}/${routingKey}` : base;
  }

  /** A binding without a key hears everything; one with a key what Kombu's hears. */
  #patterns(exchange: string, routingKey: string): string[] {
    const { prefix, fanoutPrefix, fanoutPatterns } = this.#options.settings;
    const base = `${prefix}${fanoutPrefix}${exchange}`.replace(/[\\?*[\]]/g, '\\$&');
    if (!fanoutPatterns) return [base];
    if (routingKey === '') return [base, `${base}/*`];
    return [`${base}/${routingKey.replace(/[\\?[\]]/g, '\\$&').replaceAll('#', '*')}`];
  }
}
