/** What the command writes: results to standard output, everything else to standard error. */
import stringWidth from 'fast-string-width';
import colors from 'picocolors';

/** The part of a stream that is used; a test may give its own. */
export interface Stream {
  write(text: string | Uint8Array, written?: (error?: Error | null) => void): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

type Colors = ReturnType<typeof colors.createColors>;
type Environment = Readonly<Record<string, string | undefined>>;

/** Milliseconds between two pictures of a progress line, and before the first. */
const REDRAW = 100;
/** Milliseconds that are one moment. */
const GATHER = 200;

/** By https://no-color.org and https://force-color.org; without either, only a terminal gets colour. */
export function wantsColor(stream: Stream, environment: Environment): boolean {
  if (environment.NO_COLOR) return false;
  if (environment.FORCE_COLOR) return environment.FORCE_COLOR !== '0';
  return stream.isTTY === true && environment.TERM !== 'dumb';
}

export class Output {
  readonly json: boolean;
  /** For standard output. */
  readonly colors: Colors;
  readonly #stdout: Stream;
  readonly #stderr: Stream;
  readonly #errorColors: Colors;
  readonly #counted = new Map<(count: number) => string, number>();
  #timer: NodeJS.Timeout | undefined;
  #progress: Progress | undefined;

  constructor(stdout: Stream, stderr: Stream, options: { json: boolean; environment: Environment }) {
    this.json = options.json;
    this.#stdout = stdout;
    this.#stderr = stderr;
    this.colors = colors.createColors(wantsColor(stdout, options.environment));
    this.#errorColors = colors.createColors(wantsColor(stderr, options.environment));
  }

  /** Resolves when the reader has it, or the operating system for it: whoever acknowledges afterwards has lost nothing. */
  write(text: string | Uint8Array): Promise<void> {
    this.#progress?.clear();
    return new Promise((resolve, reject) => {
      this.#stdout.write(text, (error) => (error ? reject(error) : resolve()));
    });
  }

  line(text = ''): Promise<void> {
    return this.write(`${text}\n`);
  }

  /** A result: one line of JSON with `--json`, else whatever `people` gives. */
  result(value: unknown, people: () => string): Promise<void> {
    return this.line(this.json ? toJson(value) : people());
  }

  /** Objects as a table, or as one JSON array. */
  list<T extends object>(rows: readonly T[], columns: readonly Column<T>[], empty: string): Promise<void> {
    if (this.json) return this.line(toJson(rows));
    if (rows.length === 0) return Promise.resolve(this.note(empty));
    return this.line(table(rows, columns, this.colors));
  }

  /** For people, while they wait; not with `--json`. */
  note(text: string): void {
    if (!this.json) this.#error(this.#errorColors.dim(text));
  }

  warn(text: string): void {
    this.#error(this.json ? toJson({ warning: text }) : `${this.#errorColors.yellow('warning:')} ${text}`);
  }

  /** Warns of what happens to many messages in one moment once, with their number. `text` is the same function each time. */
  warnOfOne(text: (count: number) => string): void {
    this.#counted.set(text, (this.#counted.get(text) ?? 0) + 1);
    this.#timer ??= setTimeout(() => this.warnOfAll(), GATHER);
  }

  /** Says now what {@link warnOfOne} has gathered. */
  warnOfAll(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [text, count] of this.#counted) this.warn(text(count));
    this.#counted.clear();
  }

  /** The end of the command. */
  fail(message: string, code: string): void {
    if (this.json) this.#error(toJson({ error: { code, message } }));
    else this.#error(`${this.#errorColors.red('wakame:')} ${message}`);
  }

  /** One line that tells how far it is, on a terminal only; gone when `done`. */
  progress(picture: () => string): { tick(): void; done(): void } {
    if (this.#stderr.isTTY !== true || this.json) return { tick: () => undefined, done: () => undefined };
    const progress = new Progress(this.#stderr, picture);
    this.#progress = progress;
    return {
      tick: () => progress.tick(),
      done: () => {
        progress.clear();
        this.#progress = undefined;
      },
    };
  }

  #error(text: string): void {
    this.#progress?.clear();
    this.#stderr.write(`${text}\n`);
  }
}

class Progress {
  readonly #stream: Stream;
  readonly #picture: () => string;
  #drawn = false;
  #last = performance.now();

  constructor(stream: Stream, picture: () => string) {
    this.#stream = stream;
    this.#picture = picture;
  }

  tick(): void {
    const now = performance.now();
    if (now - this.#last < REDRAW) return;
    this.#last = now;
    this.#drawn = true;
    this.#stream.write(`\r\x1b[2K${this.#picture().slice(0, (this.#stream.columns ?? 80) - 1)}`);
  }

  clear(): void {
    if (this.#drawn) this.#stream.write('\r\x1b[2K');
    this.#drawn = false;
  }
}

export interface Column<T> {
  readonly title: string;
  readonly value: (row: T) => string | number | undefined;
  /** Numbers stand on the right. */
  readonly right?: boolean;
}

/** Columns as wide as they must be, two blanks between them. Control characters are shown, not sent to the terminal. */
export function table<T>(rows: readonly T[], columns: readonly Column<T>[], { bold }: Pick<Colors, 'bold'>): string {
  const cells = rows.map((row) => columns.map(({ value }) => printable(String(value(row) ?? ''))));
  const widths = columns.map(({ title }, i) =>
    Math.max(...[title, ...cells.map((line) => line[i] ?? '')].map((text) => stringWidth(text))),
  );
  const draw = (texts: readonly string[]) =>
    texts
      .map((text, i) => {
        const blanks = ' '.repeat(Math.max(0, (widths[i] ?? 0) - stringWidth(text)));
        return columns[i]?.right === true ? blanks + text : text + blanks;
      })
      .join('  ')
      .trimEnd();
  return [bold(draw(columns.map(({ title }) => title))), ...cells.map(draw)].join('\n');
}

/** Names and bodies come from others: nothing of them may drive the terminal. Line breaks and tabs stay in `text`. */
export function printable(text: string, { lines = false } = {}): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const pattern = lines ? /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g : /[\x00-\x1f\x7f-\x9f]/g;
  return text.replace(pattern, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** One line of JSON: bytes as base64, big integers as text, errors by their message. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item === 'bigint') return item.toString();
    if (item instanceof Error) return item.message;
    if (item instanceof Uint8Array) return Buffer.from(item).toString('base64');
    // A Buffer has been made an object by its own toJSON before it comes here.
    const { type, data } = (item ?? {}) as { type?: unknown; data?: unknown };
    return type === 'Buffer' && Array.isArray(data) ? Buffer.from(data as number[]).toString('base64') : item;
  });
}
