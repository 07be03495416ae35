/** Readers of what stands in a command line. Each throws an error that says what was expected. */

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `250ms`, `10s`, `1.5m`, `2h`, `7d`; a number alone is seconds. Gives milliseconds. */
export function duration(text: string): number {
  const [, number, unit = 's'] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/.exec(text) ?? [];
  const ms = Number(number) * (UNITS[unit] ?? Number.NaN);
  if (!Number.isFinite(ms)) throw new Error(`a duration is a number with ms, s, m, h or d (10s), not '${text}'`);
  return Math.round(ms);
}

/** A whole number of at least 1. */
export function count(text: string): number {
  const number = /^[\d_]+$/.test(text) ? Number(text.replaceAll('_', '')) : Number.NaN;
  if (!Number.isSafeInteger(number) || number < 1) throw new Error(`a whole number above 0 is wanted, not '${text}'`);
  return number;
}

/** A number above 0. */
export function rate(text: string): number {
  const number = Number(text);
  if (!Number.isFinite(number) || number <= 0) throw new Error(`a number above 0 is wanted, not '${text}'`);
  return number;
}

/** `key=value`. */
export interface Pair {
  readonly key: string;
  readonly value: string;
}

export function pair(text: string): Pair {
  const at = text.indexOf('=');
  if (at < 1) throw new Error(`key=value is wanted, not '${text}'`);
  return { key: text.slice(0, at), value: text.slice(at + 1) };
}

/** A value as JSON where it is JSON (`5`, `true`, `[1]`, `"5"`), else as text. */
export function value(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** Pairs as an object whose values are read by {@link value}. The later of two with the same key counts. */
export function table(pairs: readonly Pair[] | undefined): Record<string, unknown> | undefined {
  if (pairs === undefined || pairs.length === 0) return undefined;
  return Object.fromEntries(pairs.map(({ key, value: text }) => [key, value(text)]));
}

/** A size for people: 1.5 kB. */
export function bytes(size: number): string {
  if (size < 1000) return `${size} B`;
  return size < 1_000_000 ? `${(size / 1000).toFixed(1)} kB` : `${(size / 1_000_000).toFixed(1)} MB`;
}

/** A time for people: 0.42 ms, 13 ms, 2.5 s. */
export function time(ms: number): string {
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 1000) return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(1)} s`;
}

/** `1 message`, `2 messages`. */
export function plural(number: number, noun: string): string {
  return `${number.toLocaleString('en')} ${noun}${number === 1 ? '' : 's'}`;
}

/** For messages whose acknowledgement came too late: the connection was lost before. */
export const comesAgain = (count: number): string =>
  `the connection was lost before ${plural(count, 'message')} could be acknowledged: ${count === 1 ? 'it' : 'they'} will come again`;

/** The same, of messages that have been passed on. */
export const isInBothPlaces = (count: number): string =>
  `the connection was lost before ${plural(count, 'message')} could be acknowledged: ${count === 1 ? 'it is' : 'they are'} in both places`;

/** A pattern in which `*` is any text and `?` any one character, for the whole of a name. */
export function glob(pattern: string): (name: string) => boolean {
  const source = pattern
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*+/g, '.*')
    .replaceAll('?', '.');
  const expression = new RegExp(`^${source}$`, 's');
  return (name) => expression.test(name);
}

/** The words of a command line as shells split it: quotes and backslashes keep blanks. The last is as far as it was typed; nothing is expanded. */
export function shellWords(line: string): string[] {
  const words: string[] = [];
  let word = '';
  let isBegun = false;
  let quote = '';
  for (let at = 0; at < line.length; at++) {
    const character = line[at] ?? '';
    if (quote === '' && /\s/.test(character)) {
      if (isBegun) words.push(word);
      word = '';
      isBegun = false;
      continue;
    }
    isBegun = true;
    if (character === quote) quote = '';
    else if (character === '\\' && quote !== "'") word += line[++at] ?? '';
    else if (quote === '' && (character === '"' || character === "'")) quote = character;
    else word += character;
  }
  return [...words, word];
}
