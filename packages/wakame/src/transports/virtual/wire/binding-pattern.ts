/**
 * The regular expressions that Kombu stores with topic bindings (`kombu.transport.virtual.exchange.TopicExchange`):
 * whoever publishes, in Python, runs them with `re.match` on the routing key. Wakame writes them and never runs one: it
 * derives its own matcher from the binding key that lies beside it (see {@link matchTopic}).
 */

import { hasWildcard, topicWords } from './topic.js';

/** What `*` is in Kombu's expressions: up to 5.6 it crosses dots; afterwards it is one word that is not empty. */
const STAR_UP_TO_5_6 = '.*?[^\\.]';
const STAR = '[^\\.]+';
/** `#` at the beginning, before another word; and anywhere else. */
const LEADING_HASH = '(?:[^\\.]*\\.)*';
const HASH = '(?:\\.[^\\.]*)*';

/** Backslash before all that is no letter or digit, as `kombu.utils.text.escape_regex`. */
function escapeText(text: string): string {
  return text.replace(/[^\p{L}\p{N}]/gu, (char) => (char === '\0' ? '\\000' : `\\${char}`));
}

/**
 * The expression to store for a binding. Every Kombu runs it as it stands. A key without `#` gets what Kombu itself writes
 * since its `*` stops at dots; with `#` it follows AMQP, where Kombu's `#` does not stand for nothing:
 *
 * | binding key | stored | Kombu ≤ 5.6 stores |
 * | --- | --- | --- |
 * | `stock.us` | `^stock\.us$` | `^stock\.us$` |
 * | `stock.*` | `^stock\.[^\.]+$` | `^stock\..*?[^\.]$` |
 * | `stock.#` | `^stock(?:\.[^\.]*)*$` | `^stock\..*?$` |
 * | `#.nyse` | `^(?:[^\.]*\.)*nyse$` | `^.*?\.nyse$` |
 *
 * (An empty word, as in `a..b`, is one that `*` matches in {@link matchTopic} and not in this expression.)
 */
export function bindingPattern(bindingKey: string): string {
  const words = normalizeWildcards(topicWords(bindingKey));
  if (words.length === 1 && words[0] === '#') return '^.*$';
  let pattern = '';
  for (const [i, word] of words.entries()) {
    const isFirst = i === 0 || (i === 1 && words[0] === '#');
    if (word === '#') pattern += i === 0 ? LEADING_HASH : HASH;
    else pattern += (isFirst ? '' : '\\.') + (word === '*' ? STAR : escapeText(word));
  }
  return `^${pattern}$`;
}

/** `#` and `*` side by side mean the same in any order, and several `#` the same as one: stars first, then one `#`. */
function normalizeWildcards(words: readonly string[]): string[] {
  const result: string[] = [];
  let hash = false;
  for (const word of words) {
    if (word === '#') {
      hash = true;
      continue;
    }
    if (hash && word !== '*') {
      result.push('#');
      hash = false;
    }
    result.push(word);
  }
  return hash ? [...result, '#'] : result;
}

/**
 * Every expression that may lie in a store for this binding: ours, and those of Kombu's releases. For taking a binding
 * off whoever made it.
 */
export function knownBindingPatterns(bindingKey: string): string[] {
  const ours = bindingPattern(bindingKey);
  if (!hasWildcard(bindingKey)) return [...new Set([ours, kombuPattern(bindingKey, STAR)])];
  return [...new Set([ours, kombuPattern(bindingKey, STAR), kombuPattern(bindingKey, STAR_UP_TO_5_6)])];
}

/** `TopicExchange.key_to_pattern`. `*` and `#` inside longer words stay bare there. */
function kombuPattern(bindingKey: string, star: string): string {
  const words = bindingKey.split('.').map((word) => {
    if (word === '*') return star;
    if (word === '#') return '.*?';
    return word
      .split(/([*#])/)
      .map((part) => (part === '*' || part === '#' ? part : escapeText(part)))
      .join('');
  });
  return `^${words.join('\\.')}$`;
}
