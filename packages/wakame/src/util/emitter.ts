import { EventEmitter } from 'node:events';
import { warnOnce } from './warnings.js';

/**
 * An event map: names to the tuple of their arguments. `error` is not allowed: an event of that name that nobody listens to
 * crashes the process.
 */
export type EventMap<Events> = { [Name in keyof Events]: Name extends 'error' ? never : unknown[] };

/**
 * A typed `EventEmitter` whose listeners cannot disturb the one who emits: what a listener throws becomes an uncaught
 * exception of its own, after the emitter has finished its step.
 *
 * ```ts
 * class Connection extends TypedEmitter<{ connected: []; closed: [reason: Error | undefined] }> {}
 * ```
 */
export class TypedEmitter<Events extends EventMap<Events>> extends EventEmitter<Events> {
  constructor() {
    // An async listener that rejects is an unhandled rejection of its own, never an 'error' event.
    super({ captureRejections: false });
  }

  /**
   * Emits `name`; when nobody listens, warns instead, once per cause.
   *
   * @param cause Identifies the problem, so that the same one warns once.
   */
  protected emitOrWarn<Name extends keyof Events>(
    name: Name,
    cause: string,
    message: string,
    ...args: Events[Name]
  ): void {
    if (!this.emit(name as never, ...(args as never))) warnOnce(cause, message);
  }
}

// Not a method of the class: an override would have to widen the types of Node's `emit`, which knows the events.
TypedEmitter.prototype.emit = function emit(...event: Parameters<EventEmitter['emit']>): boolean {
  try {
    return EventEmitter.prototype.emit.apply(this, event);
  } catch (error) {
    process.nextTick(() => {
      throw error;
    });
    return true;
  }
};
