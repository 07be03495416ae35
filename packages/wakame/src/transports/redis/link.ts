import { NotSupportedError, RecoverableConnectionError } from '../../errors.js';
import { FifoQueue } from '../../util/queue.js';
import type { NewClient, RedisClient, SendWritten } from './library.js';
import type { WrittenCommands } from './resp.js';

/** How often it is looked at whether an answer is late, in milliseconds; at most. */
const LOOK = 1000;

/**
 * One socket to a server, from its opening to its end. Answers come in the order of the calls; one that is late is a loss, and so is the end
 * of the socket: told once.
 */
export class Link {
  readonly client: RedisClient;
  readonly #answerTimeout: number;
  readonly #sendWritten: SendWritten | undefined;
  #state: 'opening' | 'open' | 'ended' = 'opening';
  #lost: ((error: unknown) => void) | undefined;
  #firstError: unknown;
  /** When each call that has no answer yet was made. */
  readonly #pending = new FifoQueue<number>();
  #timer: NodeJS.Timeout | undefined;
  /** Time of the last answer. */
  #heardAt = 0;

  constructor({ client, sendWritten }: NewClient, answerTimeout: number) {
    this.client = client;
    this.#answerTimeout = answerTimeout;
    this.#sendWritten = sendWritten;
    client.on('error', (error: unknown) => {
      this.#firstError ??= error;
    });
    client.on('end', () => this.#end(this.#firstError ?? new Error('the server closed the connection')));
    client.on('close', () => this.#end(this.#firstError ?? new Error('the server closed the connection')));
  }

  /** Connects, without a word of the protocol. Rejects with the error of the socket. */
  async connect(): Promise<void> {
    try {
      await this.client.connect();
    } catch (error) {
      this.close();
      throw this.#firstError ?? error;
    }
    if (this.#state !== 'opening') throw this.#firstError ?? new Error('the server closed the connection');
    this.#state = 'open';
  }

  /** From now on its loss is told. Throws when that has happened already. */
  watch(lost: (error: unknown) => void): void {
    if (this.#state === 'ended') throw this.#firstError ?? new Error('the server closed the connection');
    this.#lost = lost;
  }

  /** Milliseconds since the server last said something. */
  get silence(): number {
    return performance.now() - this.#heardAt;
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  call(command: string, ...args: (string | number)[]): Promise<unknown> {
    if (this.#state !== 'open') return Promise.reject(gone());
    return this.#expect(this.client.call(command, ...args));
  }

  /**
   * Runs commands as one step, which nobody sees the middle of. Resolves with their answers, or rejects with the first error among them.
   *
   * @param commands With MULTI and EXEC. They are freed when they have been answered.
   */
  async transaction(commands: WrittenCommands): Promise<readonly unknown[]> {
    if (this.#state !== 'open') throw gone();
    if (this.#sendWritten === undefined) throw new NotSupportedError('the client cannot send what is written already');
    const calls = this.#sendWritten(commands.names, commands.bytes).map((answer) => this.#expect(answer));
    // An error of a command that the server does not even note comes before that of EXEC, which only tells of it.
    const answers = (await Promise.all(calls)).at(-1) as readonly unknown[];
    // What was answered has been read to its end.
    commands.free();
    const error = answers.find((answer) => answer instanceof Error);
    if (error !== undefined) throw error;
    return answers;
  }

  /** Ends it; nothing is told. What is under way rejects. */
  close(): void {
    this.#lost = undefined;
    this.#end(undefined);
  }

  #expect(answer: Promise<unknown>): Promise<unknown> {
    this.#pending.push(performance.now());
    this.#timer ??= setTimeout(() => this.#look(), Math.min(LOOK, this.#answerTimeout));
    return answer.then(this.#answered, this.#failed);
  }

  readonly #answered = (answer: unknown): unknown => {
    this.#pending.shift();
    this.#heardAt = performance.now();
    return answer;
  };

  readonly #failed = (error: unknown): never => {
    this.#pending.shift();
    // What the server did not say comes of a socket that is gone, or about to be: known now, and told before the call rejects.
    if (error instanceof Error && error.name === 'ReplyError') this.#heardAt = performance.now();
    else this.#end(this.#firstError ?? error);
    throw this.#state === 'ended' ? (this.#firstError ?? error) : error;
  };

  #look(): void {
    this.#timer = undefined;
    const oldest = this.#pending.peek();
    if (oldest === undefined || this.#state !== 'open') return;
    const late = performance.now() - oldest - this.#answerTimeout;
    if (late < 0) {
      this.#timer = setTimeout(() => this.#look(), Math.min(LOOK, -late + 1));
      return;
    }
    const error = new RecoverableConnectionError(`Redis did not answer within ${this.#answerTimeout} ms`, {
      code: 'CONNECTION_LOST',
    });
    this.#firstError = error;
    this.#end(error);
  }

  #end(error: unknown): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    clearTimeout(this.#timer);
    this.client.disconnect();
    this.#lost?.(error);
  }
}

function gone(): RecoverableConnectionError {
  return new RecoverableConnectionError('the connection to Redis is gone');
}
