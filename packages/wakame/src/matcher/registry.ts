import { InvalidArgumentError, NotSupportedError } from '../errors.js';
import { checkFunction, show } from '../util/check.js';
import { didYouMean } from '../util/nearest.js';
import { globMatch } from './glob.js';

/** Whether `data` (the name of a mailbox's node, for example) is one that `pattern` means. */
export type Matcher = (data: string, pattern: string) => boolean;

/**
 * Ways to match names by patterns (`kombu.matcher`): `glob`, and any that is registered. `pcre`, by which Kombu runs the
 * regular expression of whoever sends it, is off unless {@link enablePcre} is called.
 */
export class MatcherRegistry {
  readonly #matchers = new Map<string, Matcher>([['glob', globMatch]]);

  /** Adds a matcher, or replaces the one of that name. */
  register(name: string, matcher: Matcher): void {
    this.#matchers.set(name, checkFunction('matcher', matcher));
  }

  /** Removes a matcher. Throws INVALID_ARGUMENT when there is none of that name. */
  unregister(name: string): void {
    this.#get(name);
    this.#matchers.delete(name);
  }

  /**
   * Registers `pcre`: regular expressions in JavaScript's dialect (with Python's `(?P<name>…)`), which must match from the beginning, as
   * Python's `re.match`.
   *
   * Only where every peer is trusted: an expression can be written that keeps the process busy for ever.
   */
  enablePcre(): void {
    this.register('pcre', matchFromStart);
  }

  /**
   * Whether `data` matches `pattern`. Throws INVALID_ARGUMENT for a name that nobody registered, NOT_SUPPORTED for `pcre` while it is
   * off.
   *
   * @param matcher `undefined` or `null`: `glob`.
   */
  match(data: string, pattern: string, matcher?: string | null | undefined): boolean {
    return this.#get(matcher ?? 'glob')(data, pattern);
  }

  #get(name: string): Matcher {
    const matcher = this.#matchers.get(name);
    if (matcher !== undefined) return matcher;
    if (name === 'pcre') {
      throw new NotSupportedError('pcre runs expressions that come from peers: matcher.enablePcre() turns it on');
    }
    throw new InvalidArgumentError(
      `no matcher is registered as ${show(name)}${didYouMean(name, this.#matchers.keys())}`,
    );
  }
}

function matchFromStart(data: string, pattern: string): boolean {
  const source = pattern.replaceAll('(?P<', '(?<').replace(/\(\?P=(\w+)\)/g, '\\k<$1>');
  try {
    return new RegExp(`^(?:${source})`).test(data);
  } catch (cause) {
    throw new InvalidArgumentError(`not a regular expression: ${show(pattern)}`, { cause });
  }
}

/** The registry that the library uses. */
export const matcher = new MatcherRegistry();
