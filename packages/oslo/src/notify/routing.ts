import { InvalidArgumentError, matcher } from 'wakame';
import { checkKeys, didYouMean, show } from 'wakame/util';
import type { Priority } from './message.js';

/** What a driver gets within a group: what satisfies all that is named. Patterns are the shell's: `compute.*`. */
export interface RoutingRule {
  readonly accepted_events?: readonly string[] | undefined;
  readonly accepted_priorities?: readonly string[] | undefined;
}

/**
 * Which notifications go to which drivers, as oslo.messaging's file of `routing_config` says it once YAML has been read: groups of rules, by names of
 * drivers. What any group accepts for a driver goes to it, once. What no rule accepts goes nowhere.
 *
 * ```text
 *   group_1:
 *     messagingv2:
 *       accepted_priorities: ['warn', 'error']
 *     billing:
 *       accepted_events: ['compute.instance.*']
 *       accepted_priorities: ['info']
 *   group_2:
 *     messagingv2:
 *       accepted_events: ['identity.*']
 * ```
 */
export type RoutingConfig = Readonly<Record<string, Readonly<Record<string, RoutingRule | null>> | null>>;

interface Rule<Driver> {
  readonly driver: Driver;
  readonly events: readonly string[] | undefined;
  readonly priorities: readonly string[] | undefined;
}

const RULE_KEYS: ReadonlySet<string> = new Set<keyof RoutingRule>(['accepted_events', 'accepted_priorities']);

/** The rules of a {@link RoutingConfig}, with the drivers that they name. */
export class Router<Driver> {
  readonly #rules: readonly Rule<Driver>[];

  /**
   * @param config Null, as an empty file is read: nothing goes anywhere.
   * @param drivers By the names that the rules have for them.
   *
   * Throws INVALID_ARGUMENT.
   */
  constructor(config: RoutingConfig | null, drivers: ReadonlyMap<string, Driver>) {
    this.#rules = Object.entries(config === null ? {} : table('routing', config)).flatMap(([group, rules]) =>
      Object.entries(rules === null ? {} : table(`routing.${group}`, rules)).map(([name, rule]) => {
        const place = `routing.${group}.${name}`;
        const driver = drivers.get(name);
        if (driver === undefined) {
          const hint = didYouMean(name, drivers.keys());
          throw new InvalidArgumentError(`${place}: no driver is called '${name}'${hint}`);
        }
        return { driver, ...readRule(place, rule ?? {}) };
      }),
    );
  }

  /** All that rules name. */
  get drivers(): Iterable<Driver> {
    return this.#rules.map(({ driver }) => driver);
  }

  /** Those that get a notification. */
  route(priority: Priority, eventType: string): ReadonlySet<Driver> {
    const accepting = this.#rules.filter(
      ({ events, priorities }) => fits(events, eventType) && fits(priorities, priority),
    );
    return new Set(accepting.map(({ driver }) => driver));
  }
}

function fits(patterns: readonly string[] | undefined, text: string): boolean {
  return patterns?.some((pattern) => matcher.match(text, pattern, 'glob')) ?? true;
}

function readRule(place: string, rule: RoutingRule): Pick<Rule<unknown>, 'events' | 'priorities'> {
  checkKeys(place, table(place, rule), RULE_KEYS);
  const { accepted_events: events, accepted_priorities: priorities } = rule;
  return {
    events: patterns(`${place}.accepted_events`, events),
    priorities: patterns(`${place}.accepted_priorities`, priorities)?.map((pattern) => pattern.toLowerCase()),
  };
}

/** One word alone would be taken for its letters by Python, and is a mistake in both. */
function patterns(place: string, value: unknown): readonly string[] | undefined {
  if (value === undefined) return undefined;
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  throw new InvalidArgumentError(`${place} must be an array of patterns, not ${show(value)}`);
}

function table<T>(place: string, value: T): T {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  throw new InvalidArgumentError(`${place} must be an object, not ${show(value)}`);
}
