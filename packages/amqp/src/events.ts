import { EventEmitter } from 'node:events';
import { warnOnce } from './warnings.js';

type Handler = (...args: never[]) => unknown;

function describe(error: unknown): string {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}

/**
 * An event emitter whose listeners cannot harm it: what a listener throws, or its promise rejects with, is emitted as
 * `handlerError` and reaches neither the code that raised the event nor the other listeners. Without a listener for
 * `handlerError` it is one process warning per cause. There is no event named `error`.
 */
export class SafeEmitter<Events extends Record<keyof Events, unknown[]>> extends EventEmitter<Events> {
  /** Calls the listeners of an event, each on its own. */
  protected raise<Name extends keyof Events & string>(name: Name, ...args: Events[Name]): void {
    for (const listener of (this as EventEmitter).rawListeners(name)) this.guard(listener as Handler, args);
  }

  /** Calls a function of the user's; its failure becomes `handlerError`, with `context` as further arguments. */
  protected guard(handler: Handler, args: readonly unknown[], ...context: unknown[]): void {
    try {
      const result: unknown = Reflect.apply(handler, this, args);
      if (isThenable(result)) result.then(undefined, (error: unknown) => this.handlerFailed(error, ...context));
    } catch (error) {
      this.handlerFailed(error, ...context);
    }
  }

  /** Reports a failure of the user's code. */
  protected handlerFailed(error: unknown, ...context: unknown[]): void {
    const listeners = (this as EventEmitter).rawListeners('handlerError');
    if (listeners.length === 0) {
      const text = describe(error);
      warnOnce(`handler ${text}`, `a handler failed and nobody listens to 'handlerError': ${text}`);
    }
    for (const listener of listeners) {
      try {
        Reflect.apply(listener as Handler, this, [error, ...context]);
      } catch (failure) {
        const text = describe(failure);
        warnOnce(`handlerError ${text}`, `a listener of 'handlerError' failed itself: ${text}`);
      }
    }
  }
}
