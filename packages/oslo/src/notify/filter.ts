import { InvalidArgumentError } from 'wakame';
import { checkKeys, show } from 'wakame/util';
import type { Notification } from './message.js';

/** A pattern that has to match from the beginning. */
export type Pattern = string | RegExp;

/** What a notification must be like for an endpoint to get it. What is not named may be anything. */
export interface NotificationFilterRules {
  readonly publisherId?: Pattern | undefined;
  readonly eventType?: Pattern | undefined;
  /** Members of the context. */
  readonly context?: Readonly<Record<string, Pattern>> | undefined;
  readonly metadata?:
    | { readonly messageId?: Pattern | undefined; readonly timestamp?: Pattern | undefined }
    | undefined;
  /** Members of the payload. */
  readonly payload?: Readonly<Record<string, Pattern>> | undefined;
}

const KEYS: ReadonlySet<string> = new Set<keyof NotificationFilterRules>([
  ...(['publisherId', 'eventType', 'context', 'metadata', 'payload'] as const),
]);
const METADATA_KEYS: ReadonlySet<string> = new Set(['messageId', 'timestamp']);

/** Says whether a notification is for an endpoint (`oslo_messaging.NotificationFilter`). */
export class NotificationFilter {
  readonly #publisherId: RegExp | undefined;
  readonly #eventType: RegExp | undefined;
  readonly #members: readonly (readonly ['context' | 'metadata' | 'payload', string, RegExp])[];

  /** Throws INVALID_ARGUMENT for what is no pattern. */
  constructor(rules: NotificationFilterRules) {
    checkKeys('NotificationFilter', rules, KEYS);
    const { publisherId, eventType, context = {}, metadata = {}, payload = {} } = rules;
    checkKeys('metadata', metadata, METADATA_KEYS);
    this.#publisherId = publisherId === undefined ? undefined : compiled('publisherId', publisherId);
    this.#eventType = eventType === undefined ? undefined : compiled('eventType', eventType);
    this.#members = Object.entries({ context, metadata, payload }).flatMap(([part, patterns]) =>
      Object.entries(patterns).flatMap(([key, pattern]) =>
        pattern === undefined ? [] : [[part as 'context', key, compiled(`${part}.${key}`, pattern)] as const],
      ),
    );
  }

  /** Whether every pattern fits. */
  matches(notification: Notification): boolean {
    if (!fits(this.#publisherId, notification.publisherId)) return false;
    if (!fits(this.#eventType, notification.eventType)) return false;
    return this.#members.every(([part, key, pattern]) => {
      const members: unknown = notification[part];
      const has = typeof members === 'object' && members !== null && Object.hasOwn(members, key);
      return has && fits(pattern, (members as Record<string, unknown>)[key]);
    });
  }
}

/** As Python's `re.match`: from the beginning. */
function compiled(name: string, pattern: unknown): RegExp {
  const source = pattern instanceof RegExp ? pattern.source : pattern;
  if (typeof source !== 'string') throw new InvalidArgumentError(`${name} must be a pattern, not ${show(pattern)}`);
  try {
    return new RegExp(`^(?:${source})`, pattern instanceof RegExp ? pattern.flags.replace(/[gy]/g, '') : 'u');
  } catch (cause) {
    throw new InvalidArgumentError(`${name} is no regular expression: ${show(source)}`, { cause });
  }
}

function fits(pattern: RegExp | undefined, value: unknown): boolean {
  if (pattern === undefined) return true;
  return typeof value === 'object' || value === undefined ? false : pattern.test(String(value));
}
