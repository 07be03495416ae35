import { InvalidArgumentError } from 'wakame';
import { checkKeys, show } from 'wakame/util';
import { NotificationFilter } from './filter.js';
import { type Notification, PRIORITIES, type Priority } from './message.js';

/** What becomes of a notification: done with (also when nothing is returned), or back to its queue, where the listener allows that. */
export type NotificationResult = 'handled' | 'requeue';

/** What returns nothing has handled it. */
type Answer = NotificationResult | undefined | void;

/** Hears notifications: a method for each priority that it wants. */
export type NotificationEndpoint = {
  readonly [P in Priority]?: ((notification: Notification) => Answer | Promise<Answer>) | undefined;
} & {
  /** Only what it matches is for this endpoint. */
  readonly filterRule?: NotificationFilter | undefined;
};

/** Hears several notifications of a priority at once. */
export type BatchEndpoint = {
  readonly [P in Priority]?: ((notifications: readonly Notification[]) => Answer | Promise<Answer>) | undefined;
} & {
  /** Only what it matches is for this endpoint. */
  readonly filterRule?: NotificationFilter | undefined;
};

/** One method of an endpoint. */
export interface Callback<T> {
  readonly filter: NotificationFilter | undefined;
  readonly call: (notifications: T) => unknown;
}

/** The methods for each priority, in the order of the endpoints. Throws INVALID_ARGUMENT. */
export function callbacksOf<T>(endpoints: readonly object[]): ReadonlyMap<Priority, readonly Callback<T>[]> {
  if (!Array.isArray(endpoints)) throw new InvalidArgumentError(`endpoints must be an array, not ${show(endpoints)}`);
  const callbacks = new Map<Priority, Callback<T>[]>();
  for (const endpoint of endpoints as readonly Readonly<Record<string, unknown>>[]) {
    if (typeof endpoint !== 'object' || endpoint === null) {
      throw new InvalidArgumentError(`an endpoint must be an object, not ${show(endpoint)}`);
    }
    // The members of an instance of a class are its own affair.
    if (Object.getPrototypeOf(endpoint) === Object.prototype) checkKeys('a notification endpoint', endpoint, MEMBERS);
    const { filterRule } = endpoint;
    if (filterRule !== undefined && !(filterRule instanceof NotificationFilter)) {
      throw new InvalidArgumentError(`filterRule must be a NotificationFilter, not ${show(filterRule)}`);
    }
    for (const priority of PRIORITIES) {
      const method = endpoint[priority];
      if (method === undefined) continue;
      if (typeof method !== 'function')
        throw new InvalidArgumentError(`${priority} must be a method, not ${show(method)}`);
      const call = (notifications: T): unknown => method.call(endpoint, notifications);
      callbacks.set(priority, [...(callbacks.get(priority) ?? []), { filter: filterRule, call }]);
    }
  }
  if (callbacks.size > 0) return callbacks;
  throw new InvalidArgumentError(`no endpoint has a method for a priority: ${PRIORITIES.join(', ')}`);
}

const MEMBERS: ReadonlySet<string> = new Set([...PRIORITIES, 'filterRule']);
