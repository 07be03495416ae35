import { InvalidArgumentError } from '../errors.js';
import { checkReceived, isSchema, type StandardSchemaV1 } from '../messaging/schema.js';
import { checkFunction, checkKeys, show } from '../util/check.js';
import type { Node } from './node.js';
import { checkFilled } from './options.js';
import type { CommandArguments, MailboxRequest } from './wire.js';

/** What a handler is told beside its arguments. */
export interface HandlerContext<S> {
  /** The node's state. */
  readonly state: S;
  readonly node: Node<S>;
  readonly request: MailboxRequest;
}

/**
 * Carries out a command. What it returns, or resolves with, is the reply; nothing is `null`. What it throws reaches the caller as the
 * reply's `error`.
 */
export type CommandHandler<S, A = CommandArguments> = (args: A, context: HandlerContext<S>) => unknown;

/** Options of {@link Node.handler}. */
export interface HandlerOptions<A> {
  /** Validates and types the arguments. A command whose arguments do not fit is answered with an error. */
  readonly schema: StandardSchemaV1<unknown, A>;
}

/** Several handlers by their names. */
export type CommandHandlers<S> = Readonly<Record<string, CommandHandler<S>>> | ReadonlyMap<string, CommandHandler<S>>;

const OPTIONS: ReadonlySet<string> = new Set(['schema']);

/** Handlers by name. A Map: no name that a peer sends finds anything but what was put there. */
export class HandlerMap<S> {
  readonly #handlers = new Map<string, CommandHandler<S>>();

  get names(): string[] {
    return [...this.#handlers.keys()];
  }

  /** Throws INVALID_ARGUMENT. */
  add<A>(name: string, handler: CommandHandler<S, A> | CommandHandler<S>, options?: HandlerOptions<A>): void {
    checkFilled('command', name);
    checkFunction('handler', handler);
    if (options === undefined) {
      this.#handlers.set(name, handler as CommandHandler<S>);
      return;
    }
    checkKeys('handler', options, OPTIONS);
    const { schema } = options;
    if (!isSchema(schema)) throw new InvalidArgumentError(`schema must be a Standard Schema, not ${show(schema)}`);
    const typed = handler as CommandHandler<S, A>;
    this.#handlers.set(name, async (args, context) => typed(await checkReceived(schema, args), context));
  }

  /** Throws INVALID_ARGUMENT. */
  addAll(handlers: CommandHandlers<S>): void {
    const entries = handlers instanceof Map ? handlers : Object.entries(handlers);
    for (const [name, handler] of entries) this.add(name, handler);
  }

  /** Throws what Python raises for a missing key when there is no handler of that name. */
  get(name: string): CommandHandler<S> {
    const handler = this.#handlers.get(name);
    if (handler !== undefined) return handler;
    // What the caller gets is what a node of Kombu's answers: KeyError('name').
    throw Object.assign(new Error(name), { name: 'KeyError' });
  }
}
