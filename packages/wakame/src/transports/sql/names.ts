import { InvalidArgumentError } from '../../errors.js';
import { show } from '../../util/check.js';

/** The tables. Kombu's have the names that its options `queue_tablename` and `message_tablename` give; ours go with them. */
export interface Names {
  /** Kombu's queues. */
  readonly queue: string;
  /** Kombu's messages. */
  readonly message: string;
  /** Begins the names of our tables and indexes. */
  readonly prefix: string;
  /** Options of queues. */
  readonly queueOptions: string;
  /** Who holds a message, until when. */
  readonly lease: string;
  /** What Kombu's table of messages has no column for. A message without any of it has no row. */
  readonly trait: string;
  /** Messages whose time has not come. */
  readonly delayed: string;
  readonly exchange: string;
  readonly binding: string;
  readonly holder: string;
  readonly consumer: string;
  /** The version of our tables, and counters. */
  readonly meta: string;
}

export const KOMBU_QUEUE = 'kombu_queue';
export const KOMBU_MESSAGE = 'kombu_message';

/** Throws INVALID_ARGUMENT for what is no plain name of a table. */
export function tableNames(queue: string = KOMBU_QUEUE, message: string = KOMBU_MESSAGE): Names {
  for (const [option, name] of [
    ['queue_tablename', queue],
    ['message_tablename', message],
  ]) {
    if (typeof name === 'string' && /^[A-Za-z_][A-Za-z0-9_]{0,29}$/.test(name)) continue;
    throw new InvalidArgumentError(
      `${option} must be a name of at most 30 letters, digits and underscores, not ${show(name)}`,
    );
  }
  const prefix = queue === KOMBU_QUEUE && message === KOMBU_MESSAGE ? 'wakame' : `wakame_${message}`;
  return {
    queue,
    message,
    prefix,
    queueOptions: `${prefix}_queue`,
    lease: `${prefix}_lease`,
    trait: `${prefix}_message`,
    delayed: `${prefix}_delayed`,
    exchange: `${prefix}_exchange`,
    binding: `${prefix}_binding`,
    holder: `${prefix}_holder`,
    consumer: `${prefix}_consumer`,
    meta: `${prefix}_meta`,
  };
}
