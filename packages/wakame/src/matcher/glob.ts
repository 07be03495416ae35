/**
 * Shell patterns as Python's `fnmatch.fnmatchcase`: `*` any text, `?` one character, `[seq]` one of these, `[!seq]` one that is
 * none of these. Read here rather than turned into a regular expression: the pattern comes from a peer, and this takes
 * at most characters × pattern steps, whatever it is.
 */

/** What stands for one character: the character itself, `?`, or a set. */
type Single = string | typeof ANY | ((char: string) => boolean);
type Token = Single | typeof STAR;

const ANY = Symbol('?');
const STAR = Symbol('*');

/** Whether `data` matches the pattern as a whole, case counting. */
export function globMatch(data: string, pattern: string): boolean {
  const chars = [...data];
  const tokens = tokenize([...pattern]);
  let c = 0;
  let t = 0;
  let star = -1;
  let starChar = 0;
  while (c < chars.length) {
    const token = tokens[t];
    if (token === STAR) {
      star = t++;
      starChar = c;
    } else if (token !== undefined && matchesOne(token, chars[c] as string)) {
      t++;
      c++;
    } else if (star >= 0) {
      // The last star takes one character more; those before it need never be tried again.
      t = star + 1;
      c = ++starChar;
    } else {
      return false;
    }
  }
  while (tokens[t] === STAR) t++;
  return t === tokens.length;
}

function matchesOne(token: Single, char: string): boolean {
  if (typeof token === 'function') return token(char);
  return token === ANY || token === char;
}

function tokenize(pattern: readonly string[]): Token[] {
  const tokens: Token[] = [];
  for (let i = 0; i < pattern.length; i++) {
    const char = pattern[i] as string;
    if (char === '*') tokens.push(STAR);
    else if (char === '?') tokens.push(ANY);
    else if (char !== '[') tokens.push(char);
    else {
      const end = setEnd(pattern, i + 1);
      tokens.push(end < 0 ? char : oneOf(pattern.slice(i + 1, end)));
      if (end >= 0) i = end;
    }
  }
  return tokens;
}

/** Where the `]` of a set is that begins at `start`; -1 when there is none, and `[` stands for itself. One that comes first belongs to the set. */
function setEnd(pattern: readonly string[], start: number): number {
  const first = pattern[start] === '!' ? start + 1 : start;
  return pattern.indexOf(']', pattern[first] === ']' ? first + 1 : first);
}

/** A range whose end is before its beginning has no character in it. */
function oneOf(content: readonly string[]): (char: string) => boolean {
  const negated = content[0] === '!';
  const ranges: [from: string, to: string][] = [];
  for (let i = negated ? 1 : 0; i < content.length; i++) {
    const from = content[i] as string;
    const isRange = content[i + 1] === '-' && i + 2 < content.length;
    const to = isRange ? (content[i + 2] as string) : from;
    ranges.push([from, to]);
    if (isRange) i += 2;
  }
  return (char) => ranges.some(([from, to]) => isBetween(from, char, to)) !== negated;
}

function isBetween(from: string, char: string, to: string): boolean {
  const point = char.codePointAt(0) ?? 0;
  return (from.codePointAt(0) ?? 0) <= point && point <= (to.codePointAt(0) ?? 0);
}
