import type { Outbound, SendResult } from '../virtual/driver.js';
import { CHECK_BULK } from './lua/bulk.js';
import { EnvelopeWriter, stepOf } from './messages.js';
import { listOf, type RedisSettings } from './options.js';
import { WrittenCommands } from './resp.js';
import type { ScriptName } from './scripts.js';
import type { RedisTable } from './table.js';

/** Messages of one step of the server's at most: it keeps everybody else waiting. */
const BATCH = 500;
/** Bytes of them, about. */
const BATCH_BYTES = 4 * 1024 * 1024;
/** With several lists and fewer messages for each, a transaction costs more than the script. */
const BULK = 4;
/** How many queues are remembered as plain. */
const MOST_PLAIN = 10_000;
/** A list made for an answer to a queue that nobody is known to have lives so long, in seconds: as Celery's results. */
const REPLY_SECONDS = 86_400;

/** Messages that go together, and what they are in the store. */
interface Batch {
  readonly messages: Outbound[];
  readonly texts: string[];
}

/** Messages in a row that differ in nothing but themselves. */
interface Run {
  readonly queue: string;
  readonly step: number;
  readonly expiresAt: number | undefined;
  readonly notBefore: number | undefined;
  readonly implicit: string | number;
  readonly texts: string[];
}

/** Messages for one list of a plain queue. */
interface Bulk {
  readonly queue: string;
  readonly step: number;
  readonly list: string;
  readonly incarnation: number;
  readonly texts: string[];
}

type Transaction = (commands: WrittenCommands) => Promise<readonly unknown[]>;

export interface SenderOptions {
  readonly settings: RedisSettings;
  /** See `Link.transaction`; undefined where there is no such thing for us. */
  readonly transaction: Transaction | undefined;
  readonly table: RedisTable;
  readonly run: (name: ScriptName, args: (string | number)[]) => Promise<unknown>;
  /** Something has to be seen to in so many milliseconds (-1: nothing). */
  readonly dueIn: (ms: number) => void;
}

/**
 * Puts messages into their queues. There are two ways:
 *
 * - A script that knows all that there is to know of a queue. It also tells which queues are plain: declared, with nothing to be done but to push.
 * - Past the script, many at a time for plain queues, since to Lua each byte of a message costs more than to all others:
 *
 * ```
 *   MULTI
 *   LPUSH list envelope…      for each list
 *   EVAL CHECK_BULK           whether each queue is still the same one; where it is not, takes its messages out again
 *   EXEC                      nobody sees what was in between
 * ```
 *
 * What was taken out is sent once more, by the script. Whatever is sent later waits until that is under way: the order stays.
 */
export class Sender {
  readonly #options: SenderOptions;
  /** The incarnations of queues known to be plain. */
  readonly #plain = new Map<string, number>();
  /** Transactions without an answer. */
  #underWay = 0;
  #state: 'flowing' | 'held-up' = 'flowing';
  #waiting: (() => void)[] = [];

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  send(messages: readonly Outbound[]): Promise<readonly SendResult[]> {
    if (this.#state === 'flowing') return this.#send(messages);
    return new Promise((resolve) => this.#waiting.push(() => resolve(this.#send(messages))));
  }

  async #send(messages: readonly Outbound[]): Promise<readonly SendResult[]> {
    if (messages.length === 0) return [];
    const batches = this.#write(messages);
    if (batches.length === 1) return await this.#sendBatch(batches[0] as Batch);
    return (await Promise.all(batches.map((batch) => this.#sendBatch(batch)))).flat();
  }

  /** Everything is written before anything is sent. */
  #write(messages: readonly Outbound[]): Batch[] {
    const writer = new EnvelopeWriter(this.#options.settings.bodyEncoding);
    let batch: Batch = { messages: [], texts: [] };
    let bytes = 0;
    const batches = [batch];
    for (const outbound of messages) {
      const text = writer.write(outbound.message);
      if (batch.texts.length >= BATCH || (bytes > 0 && bytes + text.length > BATCH_BYTES)) {
        batch = { messages: [], texts: [] };
        batches.push(batch);
        bytes = 0;
      }
      batch.messages.push(outbound);
      batch.texts.push(text);
      bytes += text.length;
    }
    return batches;
  }

  #sendBatch(batch: Batch): Promise<readonly SendResult[]> {
    const { transaction } = this.#options;
    const bulks = transaction === undefined ? undefined : this.#bulks(batch);
    if (transaction === undefined || bulks === undefined) return this.#sendByScript(batch);
    return this.#sendBulks(batch, bulks, transaction);
  }

  // By the script ──────────────────────────────────────────────────────────────────────────────────────────────────

  async #sendByScript({ messages, texts }: Batch): Promise<readonly SendResult[]> {
    const runs = this.#runs(messages, texts);
    const now = Date.now();
    const args = runs.flatMap(({ queue, step, expiresAt, notBefore, implicit, texts }) => {
      const expires = expiresAt === undefined ? '' : expiresAt - now;
      return [queue, step, expires, notBefore === undefined ? '' : notBefore - now, implicit, texts.join('\n')];
    });
    const answer = (await this.#options.run('SEND', args)) as [number, number[], number[]?];
    const [soonest, incarnations, results] = answer;
    this.#options.dueIn(soonest);
    for (const [i, { queue }] of runs.entries()) this.#remember(queue, incarnations[i] ?? 0);
    return results === undefined ? allStored(messages) : results.map(toSendResult);
  }

  #runs(messages: readonly Outbound[], texts: readonly string[]): Run[] {
    const { steps } = this.#options.settings;
    const runs: Run[] = [];
    for (const [i, { queue, message, expiresAt, notBefore }] of messages.entries()) {
      const step = stepOf(message.properties.priority, steps);
      const implicit = this.#implicit(queue, message);
      const last = runs.at(-1);
      const goesOn =
        last?.queue === queue &&
        last.step === step &&
        last.expiresAt === expiresAt &&
        last.notBefore === notBefore &&
        last.implicit === implicit;
      const text = texts[i] as string;
      if (goesOn) last.texts.push(text);
      else runs.push({ queue, step, expiresAt, notBefore, implicit, texts: [text] });
    }
    return runs;
  }

  /** Whether, and how, a queue is to be made for a message when nothing is known of it. */
  #implicit(queue: string, { exchange, properties }: Outbound['message']): string | number {
    const { table, settings } = this.#options;
    if (table.isBoundByOthers(queue)) return 'b';
    const { implicitQueues } = settings;
    if (implicitQueues === 'always') return 'b';
    // Of a queue that waits for an answer, empty and bound to nothing, Python leaves no trace at all.
    const isReply = exchange === '' && properties.correlationId !== undefined;
    return implicitQueues === 'replies' && isReply ? REPLY_SECONDS : '';
  }

  #remember(queue: string, incarnation: number): void {
    if (incarnation === 0) {
      this.#plain.delete(queue);
    } else {
      if (this.#plain.size >= MOST_PLAIN) this.#plain.clear();
      this.#plain.set(queue, incarnation);
    }
  }

  // Past it ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Undefined where the script is needed, or costs less. */
  #bulks({ messages, texts }: Batch): Bulk[] | undefined {
    const { settings } = this.#options;
    const bulks = new Map<string, Bulk>();
    let last: Bulk | undefined;
    let lastPriority: number | undefined;
    for (let i = 0; i < messages.length; i++) {
      const { queue, message, expiresAt, notBefore } = messages[i] as Outbound;
      if (expiresAt !== undefined || notBefore !== undefined) return undefined;
      const { priority } = message.properties;
      if (last === undefined || last.queue !== queue || lastPriority !== priority) {
        const incarnation = this.#plain.get(queue);
        if (incarnation === undefined) return undefined;
        const step = stepOf(priority, settings.steps);
        const list = listOf(settings, queue, step);
        last = bulks.get(list) ?? { queue, step, list, incarnation, texts: [] };
        bulks.set(list, last);
        lastPriority = priority;
      }
      last.texts.push(texts[i] as string);
    }
    return bulks.size === 1 || texts.length >= BULK * bulks.size ? [...bulks.values()] : undefined;
  }

  async #sendBulks(batch: Batch, bulks: readonly Bulk[], transact: Transaction): Promise<readonly SendResult[]> {
    let again: Promise<readonly SendResult[]> | undefined;
    this.#underWay++;
    try {
      const answers = await transact(writeBulks(bulks, this.#options.settings.prefix));
      const takenOut = answers.at(-1) as readonly number[];
      if (takenOut.length > 0) {
        this.#state = 'held-up';
        again = this.#sendAgain(
          batch,
          takenOut.map((number) => bulks[number - 1] as Bulk),
        );
      }
    } finally {
      this.#underWay--;
      this.#goOn();
    }
    return again ?? allStored(batch.messages);
  }

  /** What its queue did not take, for it is another one by now. */
  async #sendAgain({ messages, texts }: Batch, bulks: readonly Bulk[]): Promise<readonly SendResult[]> {
    for (const { queue } of bulks) this.#plain.delete(queue);
    const { settings } = this.#options;
    const indexes = [...messages.keys()].filter((i) => {
      const { queue, message } = messages[i] as Outbound;
      const step = stepOf(message.properties.priority, settings.steps);
      return bulks.some((bulk) => bulk.queue === queue && bulk.step === step);
    });
    const answers = await this.#sendByScript({
      messages: indexes.map((i) => messages[i] as Outbound),
      texts: indexes.map((i) => texts[i] as string),
    });
    const results = allStored(messages);
    for (const [at, i] of indexes.entries()) results[i] = answers[at] as SendResult;
    return results;
  }

  #goOn(): void {
    if (this.#state === 'flowing' || this.#underWay > 0) return;
    this.#state = 'flowing';
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const send of waiting) send();
  }
}

/** The whole transaction; without bulks, one that changes nothing. */
export function writeBulks(bulks: readonly Bulk[], prefix: string): WrittenCommands {
  const commands = new WrittenCommands().command('MULTI', 0);
  for (const { list, texts } of bulks) {
    commands.command('LPUSH', 1 + texts.length).text(list);
    for (const text of texts) commands.ascii(text);
  }
  commands
    .command('EVAL', 2 + 4 * bulks.length)
    .ascii(CHECK_BULK)
    .ascii('0');
  for (const { queue, incarnation, list, texts } of bulks) {
    commands.text(`${prefix}_wakame.queue.${queue}`).ascii(`${incarnation}`).text(list).ascii(`${texts.length}`);
  }
  return commands.command('EXEC', 0);
}

function allStored(messages: readonly unknown[]): SendResult[] {
  return new Array<SendResult>(messages.length).fill('stored');
}

function toSendResult(result: number): SendResult {
  return result === 1 ? 'stored' : result === 0 ? 'full' : 'missing';
}
