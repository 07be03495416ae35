/** Celery's task messages (protocol 2), results over rpc://, remote control and events, in terms of Wakame. */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { type Connection, type Consumer, Exchange, Mailbox, type Message, type Producer, Queue } from 'wakame';

export interface TaskOptions {
  /** Where the workers listen. Default: `celery`, as theirs. */
  readonly queue?: string;
  readonly kwargs?: Readonly<Record<string, unknown>>;
  readonly id?: string;
  /** Not before this time … */
  readonly eta?: Date;
  /** … and not after that. */
  readonly expires?: Date;
}

/** What a worker says of a task. */
export interface TaskResult {
  readonly task_id: string;
  readonly status: string;
  readonly result: unknown;
  readonly traceback: string | null;
}

/** A task failed, or was revoked. `result` has what the worker said. */
export class TaskFailed extends Error {
  readonly result: TaskResult;

  constructor(result: TaskResult) {
    const { exc_type: type = result.status, exc_message: message = '' } = (result.result ?? {}) as Record<
      string,
      unknown
    >;
    super(`${type}: ${message}`);
    this.result = result;
  }
}

/** Celery's own queues are durable, each on a direct exchange of the same name. */
function taskQueue(name: string): Queue {
  return new Queue(name, { exchange: new Exchange(name), routingKey: name });
}

/** Sends tasks to workers, and receives their results. */
export class TaskClient implements AsyncDisposable {
  readonly #producer: Producer;
  readonly #consumer: Consumer;
  readonly #replies: Queue;
  readonly #waiting = new Map<string, PromiseWithResolvers<TaskResult>>();

  constructor(connection: Connection) {
    this.#producer = connection.producer();
    // Workers answer to whatever queue reply_to names; this one is nobody else's, and goes with us.
    this.#replies = new Queue(`results.${randomUUID()}`, { durable: false, autoDelete: true, expires: 86_400_000 });
    this.#consumer = connection.consumer(this.#replies, {
      noAck: true,
      onMessage: ({ payload }) => this.#received(payload as TaskResult),
    });
  }

  /** Sends a task and resolves with its result, when it has one. Rejects with {@link TaskFailed}. */
  async call(task: string, args: readonly unknown[] = [], options: TaskOptions = {}): Promise<unknown> {
    return (await this.send(task, args, options)).result;
  }

  /** Sends a task. Resolves when the broker has it. */
  async send(task: string, args: readonly unknown[] = [], options: TaskOptions = {}) {
    const { queue = 'celery', kwargs = {}, id = randomUUID(), eta, expires } = options;
    const waiting = Promise.withResolvers<TaskResult>();
    this.#waiting.set(id, waiting);
    const result = waiting.promise.then((answer) => {
      if (answer.status === 'SUCCESS') return answer.result;
      throw new TaskFailed(answer);
    });
    // Whoever only sends need not look at the result.
    result.catch(() => undefined);
    await this.#consumer.consume();
    await this.#producer.publish([args, kwargs, { callbacks: null, errbacks: null, chain: null, chord: null }], {
      routingKey: queue,
      declare: [taskQueue(queue)],
      correlationId: id,
      replyTo: this.#replies.name,
      headers: {
        ...{ lang: 'js', task, id, root_id: id, parent_id: null, group: null, retries: 0, timelimit: [null, null] },
        ...{ eta: isoTime(eta), expires: isoTime(expires), ignore_result: false },
        ...{
          argsrepr: inspect(args),
          kwargsrepr: inspect(kwargs),
          origin: `${process.pid}@${hostname()}`,
        },
      },
    });
    return { id, result };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.#consumer.close(), this.#producer.close()]);
  }

  #received(answer: TaskResult): void {
    // STARTED and RETRY are news of a task that goes on.
    if (!['SUCCESS', 'FAILURE', 'REVOKED', 'REJECTED'].includes(answer.status)) return;
    this.#waiting.get(answer.task_id)?.resolve(answer);
    this.#waiting.delete(answer.task_id);
  }
}

function isoTime(time: Date | undefined): string | null {
  return time === undefined ? null : time.toISOString().replace('Z', '+00:00');
}

/** Does a task: gets its arguments, the keyword arguments last. What it throws is the caller's exception. */
export type TaskHandler = (args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>) => unknown;

/** Takes tasks from a queue, does them and sends the results. A task whose worker dies is done again. */
export function taskWorker(
  connection: Connection,
  queue: string,
  tasks: Readonly<Record<string, TaskHandler>>,
): Consumer {
  const producer = connection.producer();
  return connection.consumer(taskQueue(queue), {
    concurrency: 16,
    settle: 'auto',
    onMessage: async (message) => {
      const answer = await perform(message, tasks);
      const { replyTo, correlationId } = message.properties;
      if (!replyTo || message.headers['ignore_result'] === true) return;
      await producer.publish(answer, { routingKey: replyTo, correlationId, deliveryMode: 'transient' });
    },
  });
}

async function perform(message: Message, tasks: Readonly<Record<string, TaskHandler>>): Promise<object> {
  const { task, id, eta, expires } = message.headers as Record<string, string>;
  const [args, kwargs] = message.payload as [unknown[], Record<string, unknown>];
  const answer = (status: string, result: unknown) => {
    return { task_id: id, status, result, traceback: null, children: [], date_done: isoTime(new Date()) };
  };
  if (eta) await sleep(new Date(eta).getTime() - Date.now());
  if (expires && new Date(expires) < new Date()) return answer('REVOKED', failure('TaskRevokedError', 'expired'));
  try {
    const handler = tasks[task ?? ''];
    if (handler === undefined) throw new Error(`there is no task ${task} here`);
    return answer('SUCCESS', (await handler(args, kwargs)) ?? null);
  } catch (error) {
    return answer('FAILURE', failure('Exception', (error as Error).message));
  }
}

function failure(type: string, message: string): object {
  const module = type === 'Exception' ? 'builtins' : 'celery.exceptions';
  return { exc_type: type, exc_module: module, exc_message: [message] };
}

/** Remote control: to ping, inspect and command workers, and to be one that answers. */
export function workerMailbox(connection: Connection): Mailbox {
  return new Mailbox('celery', { type: 'fanout', connection });
}

/** What workers tell of themselves and their tasks, when they run with --task-events. */
export interface WorkerEvent {
  readonly type: string;
  readonly hostname: string;
  readonly timestamp: number;
  readonly uuid?: string;
  readonly [field: string]: unknown;
}

/** Calls `handler` with each event. Celery has them on a topic exchange; on Redis, on a fanout exchange. */
export function workerEvents(connection: Connection, handler: (event: WorkerEvent) => void): Consumer {
  const type = /^(redis|rediss|sentinel)$/.test(connection.info().transport) ? 'fanout' : 'topic';
  const queue = new Queue(`celeryev.${randomUUID()}`, {
    ...{ exchange: new Exchange('celeryev', { type }), routingKey: '#' },
    ...{ durable: false, exclusive: true, messageTtl: 5000, expires: 60_000 },
  });
  return connection.consumer(queue, {
    noAck: true,
    // Workers send several at once as an array.
    onMessage: ({ payload }) => ([payload].flat() as WorkerEvent[]).forEach(handler),
  });
}
