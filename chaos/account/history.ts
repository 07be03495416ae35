/** The log put in order: what became of every message, worker and fault. */
import { type LedgerRecord, placeOf, type Rules } from '../ledger/records.ts';

export interface Delivery {
  readonly at: number;
  readonly by: string;
  /** Null: whoever got it cannot tell. */
  readonly redelivered: boolean | null;
  ackedAt: number | undefined;
  /** Whether the ack came in time, as far as its sender knows. */
  live: boolean | undefined;
}

export interface Message {
  readonly producer: string;
  readonly number: number;
  readonly queue: string;
  readonly publishedAt: number;
  outcomeAt: number | undefined;
  outcome: 'confirmed' | 'not-sent' | 'refused' | 'unknown' | undefined;
  attempts: number | undefined;
  readonly deliveries: Delivery[];
}

/** One life of a worker. */
export interface Worker {
  readonly by: string;
  readonly place: string;
  readonly role: 'producer' | 'consumer';
  readonly language: string;
  readonly startedAt: number;
  awakeAt: number | undefined;
  readyAt: number | undefined;
  killedAt: number | undefined;
  toldAt: number | undefined;
  finishedAt: number | undefined;
  endedAt: number | undefined;
  /** How it ended. */
  end: string | undefined;
  /** When it lost its connection. */
  readonly losses: number[];
  peakMemory: number;
}

export interface Fault {
  readonly kind: string;
  readonly targets: readonly string[] | 'all';
  readonly detail: string;
  readonly crash: boolean;
  readonly side: boolean;
  readonly from: number;
  /** Infinity as long as it is not over. */
  until: number;
}

export interface History {
  readonly stand: string;
  readonly seed: number;
  readonly rules: Rules;
  readonly startedAt: number;
  lastCallAt: number;
  endedAt: number;
  /** By producer and number, as {@link messageKey} puts them together. */
  readonly messages: Map<string, Message>;
  readonly workers: Map<string, Worker>;
  readonly faults: Map<number, Fault>;
  /** By place: when its workers got a message, or a confirm. In order. */
  readonly signs: Map<string, number[]>;
  /** By place: when its workers got a message of the side queue. */
  readonly sideSigns: Map<string, number[]>;
  /** Of each worker, by queue, the messages in the order it got them. */
  readonly received: Map<string, { readonly message: Message; readonly delivery: Delivery }[]>;
  /** What nobody published, or not so. */
  readonly strays: string[];
}

export function messageKey(producer: string, number: number): string {
  return `${producer}:${number}`;
}

/** Reads a log. Throws when it does not begin as one does. */
export function historyOf(records: Iterable<LedgerRecord>): History {
  let history: History | undefined;
  const deliveries = new Map<string, Delivery>();
  for (const record of records) {
    if (history === undefined) history = begin(record);
    else add(history, deliveries, record);
  }
  if (history === undefined) throw new Error('the log is empty');
  return history;
}

function begin(record: LedgerRecord): History {
  if (record.event !== 'run') throw new Error(`a log begins with 'run', not with '${record.event}'`);
  const { stand, seed, rules, at } = record;
  return {
    ...{ stand, seed, rules, startedAt: at, lastCallAt: Number.POSITIVE_INFINITY, endedAt: at },
    ...{ messages: new Map(), workers: new Map(), faults: new Map(), signs: new Map(), sideSigns: new Map() },
    ...{ received: new Map(), strays: [] },
  };
}

function add(history: History, deliveries: Map<string, Delivery>, record: LedgerRecord): void {
  const { at } = record;
  history.endedAt = Math.max(history.endedAt, at);
  switch (record.event) {
    case 'run':
      throw new Error('a log has one run');
    case 'fault': {
      const { kind, targets, detail, crash, side } = record;
      history.faults.set(record.fault, {
        kind,
        targets,
        detail,
        crash,
        side,
        from: at,
        until: Number.POSITIVE_INFINITY,
      });
      return;
    }
    case 'fault-over': {
      const fault = history.faults.get(record.fault);
      if (fault === undefined) throw new Error(`fault ${record.fault} ended, and never began`);
      fault.until = at;
      return;
    }
    case 'last-call':
      history.lastCallAt = at;
      return;
    case 'started': {
      const { by, role, language } = record;
      history.workers.set(by, {
        ...{
          by,
          place: placeOf(by),
          role,
          language,
          startedAt: at,
          awakeAt: undefined,
          readyAt: undefined,
          killedAt: undefined,
          toldAt: undefined,
        },
        ...{ finishedAt: undefined, endedAt: undefined, end: undefined, losses: [], peakMemory: 0 },
      });
      return;
    }
    default:
      tell(history, deliveries, record);
  }
}

type Telling = Exclude<LedgerRecord, { event: 'run' | 'fault' | 'fault-over' | 'last-call' | 'started' }>;

/** What workers tell, and what is told of them. */
function tell(history: History, deliveries: Map<string, Delivery>, record: Telling): void {
  const { at, by } = record;
  const worker = history.workers.get(by);
  if (worker === undefined) throw new Error(`${by} tells '${record.event}', and was never started`);
  switch (record.event) {
    case 'publish': {
      const { queue, number } = record;
      history.messages.set(messageKey(by, number), {
        ...{ producer: by, number, queue, publishedAt: at, deliveries: [] },
        ...{ outcomeAt: undefined, outcome: undefined, attempts: undefined },
      });
      return;
    }
    case 'confirmed':
    case 'rejected': {
      const message = history.messages.get(messageKey(by, record.number));
      if (message === undefined) throw new Error(`${by} has an outcome for ${record.number}, which it never published`);
      message.outcomeAt = at;
      message.outcome = record.event === 'confirmed' ? 'confirmed' : record.outcome;
      if (record.event !== 'confirmed') return;
      message.attempts = record.attempts;
      push(history.signs, worker.place, at);
      return;
    }
    case 'delivered': {
      const { queue, producer, number, redelivered } = record;
      push(history.signs, worker.place, at);
      const message = history.messages.get(messageKey(producer, number));
      if (message === undefined || message.queue !== queue) {
        history.strays.push(`${by} got ${producer}:${number} from '${queue}', where nobody published it`);
        return;
      }
      const delivery: Delivery = { at, by, redelivered, ackedAt: undefined, live: undefined };
      message.deliveries.push(delivery);
      deliveries.set(`${by}:${record.delivery}`, delivery);
      push(history.received, by, { message, delivery });
      return;
    }
    case 'acked': {
      const delivery = deliveries.get(`${by}:${record.delivery}`);
      if (delivery === undefined) return; // Of a stray.
      delivery.ackedAt = at;
      delivery.live = record.live;
      return;
    }
    case 'damaged':
      history.strays.push(`${by} got from '${record.queue}' what nobody published: ${record.text}`);
      return;
    case 'awake':
      worker.awakeAt = at;
      return;
    case 'ready':
      worker.readyAt = at;
      return;
    case 'lost':
      worker.losses.push(at);
      return;
    case 'side':
      push(history.sideSigns, worker.place, at);
      return;
    case 'memory':
      worker.peakMemory = Math.max(worker.peakMemory, record.bytes);
      return;
    case 'kill':
      worker.killedAt = at;
      return;
    case 'told':
      worker.toldAt = at;
      return;
    case 'finished':
      worker.finishedAt = at;
      return;
    case 'ended':
      worker.endedAt = at;
      worker.end = record.signal ?? `exit code ${record.code}`;
      return;
    default:
      record satisfies never;
  }
}

function push<T>(map: Map<string, T[]>, key: string, value: T): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
