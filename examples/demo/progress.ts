/** One line that follows the work: redrawn on a terminal, printed now and then elsewhere. */
export class Progress {
  readonly #draw: () => string;
  readonly #timer: NodeJS.Timeout;
  readonly #live = process.stdout.isTTY === true;

  constructor(draw: () => string) {
    this.#draw = draw;
    this.#timer = setInterval(() => this.#print(), this.#live ? 100 : 1_000);
  }

  /** Says something above the line. */
  note(text: string): void {
    process.stdout.write(this.#live ? `\r\x1b[2K${text}\n` : `${text}\n`);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#print();
    if (this.#live) process.stdout.write('\n');
  }

  #print(): void {
    process.stdout.write(this.#live ? `\r\x1b[2K${this.#draw()}` : `${this.#draw()}\n`);
  }
}

export function bar(done: number, total: number, width = 24): string {
  const full = total === 0 ? 0 : Math.round((done / total) * width);
  return '█'.repeat(full) + '░'.repeat(width - full);
}

const number = new Intl.NumberFormat('en-US');
export const count = (n: number): string => number.format(Math.round(n));

/** `3, 5-9, 12`: whole numbers in order, at most so many ranges. */
export function ranges(numbers: readonly number[], longest = 12): string {
  const found: { readonly first: number; last: number }[] = [];
  for (const n of [...new Set(numbers)].sort((a, b) => a - b)) {
    const end = found.at(-1);
    if (end?.last === n - 1) end.last = n;
    else found.push({ first: n, last: n });
  }
  const shown = found.slice(0, longest).map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`));
  const rest = found.length - shown.length;
  return shown.join(', ') + (rest > 0 ? ` and ${rest} more` : '');
}
