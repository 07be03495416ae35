/**
 * Topic bindings by AMQP's rules (0-9-1 section 3.1.3.3) and as RabbitMQ reads them: keys are words with dots between,
 * `*` stands for exactly one word, `#` for any number of words, none included; elsewhere in a word both are ordinary
 * characters. A word may be empty (`a..b` has three words); the empty key has no word at all.
 *
 * (Kombu up to 5.6 lets `*` cross dots and `#` not stand for nothing; those are its defects, not part of the format.)
 */

/** The words of a key. */
export function topicWords(key: string): string[] {
  return key === '' ? [] : key.split('.');
}

/** Whether a binding key has a wildcard; if not, it takes the routing key equal to it and no other. */
export function hasWildcard(bindingKey: string): boolean {
  if (!bindingKey.includes('*') && !bindingKey.includes('#')) return false;
  return topicWords(bindingKey).some((word) => word === '*' || word === '#');
}

/**
 * Whether a binding takes a routing key. For one binding; {@link TopicIndex} is for many.
 *
 * Goes through both from the left; after a mismatch it lets the last `#` take one word more. Earlier `#`s need never be
 * tried again, so the time is at most words × words.
 */
export function matchTopic(bindingKey: string, routingKey: string): boolean {
  const pattern = topicWords(bindingKey);
  const words = topicWords(routingKey);
  let p = 0;
  let w = 0;
  let hash = -1;
  let hashWord = 0;
  while (w < words.length) {
    if (pattern[p] === '#') {
      hash = p++;
      hashWord = w;
    } else if (p < pattern.length && (pattern[p] === '*' || pattern[p] === words[w])) {
      p++;
      w++;
    } else if (hash >= 0) {
      p = hash + 1;
      w = ++hashWord;
    } else {
      return false;
    }
  }
  while (pattern[p] === '#') p++;
  return p === pattern.length;
}

/** A place in the tree: where the words of some binding keys, read up to here, lead. */
class Node<T> {
  readonly words = new Map<string, Node<T>>();
  /** After `*`. */
  star: Node<T> | undefined;
  /** After `#`. */
  hash: Node<T> | undefined;
  readonly values = new Set<T>();
  /** This node stands after `#`, so every further word leads back to it. */
  readonly loops: boolean;

  constructor(loops = false) {
    this.loops = loops;
  }

  get isEmpty(): boolean {
    return this.values.size === 0 && this.words.size === 0 && this.star === undefined && this.hash === undefined;
  }

  child(word: string): Node<T> | undefined {
    if (word === '*') return this.star;
    if (word === '#') return this.hash;
    return this.words.get(word);
  }

  makeChild(word: string): Node<T> {
    const known = this.child(word);
    if (known !== undefined) return known;
    const made = new Node<T>(word === '#');
    if (word === '*') this.star = made;
    else if (word === '#') this.hash = made;
    else this.words.set(word, made);
    return made;
  }

  dropChild(word: string): void {
    if (word === '*') this.star = undefined;
    else if (word === '#') this.hash = undefined;
    else this.words.delete(word);
  }
}

/**
 * Many topic bindings. Looking up a routing key takes time by its words and by the wildcards that apply to them, not by
 * the number of bindings.
 *
 * Bindings without wildcards are in a map by key; the others in a tree by word, walked for all alternatives at once:
 *
 * ```
 *   a.*.c → x     root ─a→ o ─*→ o ─c→ {x}
 *   a.#   → y              └─#→ {y} ⟲ any word
 * ```
 */
export class TopicIndex<T> {
  readonly #exact = new Map<string, Set<T>>();
  readonly #root = new Node<T>();
  #size = 0;

  /** The number of (binding key, value) pairs. */
  get size(): number {
    return this.#size;
  }

  /** Adds a pair. `false` when it was there. */
  add(bindingKey: string, value: T): boolean {
    const values = this.#valuesFor(bindingKey);
    if (values.has(value)) return false;
    values.add(value);
    this.#size++;
    return true;
  }

  /** Takes a pair away. `false` when it was not there. */
  delete(bindingKey: string, value: T): boolean {
    const deleted = hasWildcard(bindingKey)
      ? this.#deleteBelow(this.#root, topicWords(bindingKey), 0, value)
      : this.#deleteExact(bindingKey, value);
    if (deleted) this.#size--;
    return deleted;
  }

  /** The values whose bindings take the key, each once. A new Set, the caller's to keep. */
  match(routingKey: string): Set<T> {
    const found = new Set(this.#exact.get(routingKey));
    if (this.#root.isEmpty) return found;
    let places = new Set<Node<T>>();
    enter(places, this.#root);
    for (const word of topicWords(routingKey)) {
      const next = new Set<Node<T>>();
      for (const place of places) {
        if (place.loops) next.add(place);
        const child = place.words.get(word);
        if (child !== undefined) enter(next, child);
        if (place.star !== undefined) enter(next, place.star);
      }
      if (next.size === 0) return found;
      places = next;
    }
    for (const place of places) for (const value of place.values) found.add(value);
    return found;
  }

  #valuesFor(bindingKey: string): Set<T> {
    if (hasWildcard(bindingKey)) {
      return topicWords(bindingKey).reduce((node, word) => node.makeChild(word), this.#root).values;
    }
    let values = this.#exact.get(bindingKey);
    if (values === undefined) {
      values = new Set();
      this.#exact.set(bindingKey, values);
    }
    return values;
  }

  #deleteExact(bindingKey: string, value: T): boolean {
    const values = this.#exact.get(bindingKey);
    const deleted = values?.delete(value) ?? false;
    if (values?.size === 0) this.#exact.delete(bindingKey);
    return deleted;
  }

  #deleteBelow(node: Node<T>, words: readonly string[], at: number, value: T): boolean {
    const word = words[at];
    if (word === undefined) return node.values.delete(value);
    const child = node.child(word);
    if (child === undefined) return false;
    const deleted = this.#deleteBelow(child, words, at + 1, value);
    if (child.isEmpty) node.dropChild(word);
    return deleted;
  }
}

/** Adds a place, and those that `#` after it reaches without a word. */
function enter<T>(places: Set<Node<T>>, place: Node<T>): void {
  for (let at: Node<T> | undefined = place; at !== undefined && !places.has(at); at = at.hash) places.add(at);
}
