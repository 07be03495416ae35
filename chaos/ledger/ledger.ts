import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { type LedgerRecord, now } from './records.ts';

/** A record as its writer gives it; the time is put in, unless it was another one. */
export type Entry<R = LedgerRecord> = R extends LedgerRecord
  ? Omit<R, 'at'> & { readonly at?: number | undefined }
  : never;

const PIECE = 1 << 16;

/** The file, for those who append to it by its descriptor. Several records at once are one `write`. */
export function append(descriptor: number, ...entries: readonly Entry[]): void {
  const at = now();
  writeSync(descriptor, entries.map((entry) => `${JSON.stringify({ at, ...entry })}\n`).join(''));
}

/** The parent's end of the log: it writes its own records, lends the descriptor to workers, and follows what they write. */
export class Ledger {
  readonly file: string;
  /** For workers to append to. */
  readonly descriptor: number;
  readonly #reading: number;
  #position = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(file: string) {
    this.file = file;
    // 'a': each write goes to the end, wherever that is by then.
    this.descriptor = openSync(file, 'ax');
    this.#reading = openSync(file, 'r');
  }

  write(...entries: readonly Entry[]): void {
    append(this.descriptor, ...entries);
  }

  /** What was written since the last call. */
  *read(): Generator<LedgerRecord> {
    const piece = Buffer.alloc(PIECE);
    for (;;) {
      const length = readSync(this.#reading, piece, 0, PIECE, this.#position);
      if (length === 0) return;
      this.#position += length;
      const bytes = Buffer.concat([this.#rest, piece.subarray(0, length)]);
      const end = bytes.lastIndexOf(0x0a) + 1;
      this.#rest = Buffer.from(bytes.subarray(end));
      if (end > 0) yield* parse(bytes.toString('utf8', 0, end));
    }
  }

  close(): void {
    closeSync(this.descriptor);
    closeSync(this.#reading);
  }
}

/** The records of a whole log, from the beginning. */
export function* readLedger(file: string): Generator<LedgerRecord> {
  const descriptor = openSync(file, 'r');
  try {
    const piece = Buffer.alloc(PIECE);
    let rest: Buffer = Buffer.alloc(0);
    for (let length = readSync(descriptor, piece); length > 0; length = readSync(descriptor, piece)) {
      const bytes = Buffer.concat([rest, piece.subarray(0, length)]);
      const end = bytes.lastIndexOf(0x0a) + 1;
      rest = Buffer.from(bytes.subarray(end));
      yield* parse(bytes.toString('utf8', 0, end));
    }
  } finally {
    closeSync(descriptor);
  }
}

/** The records in complete lines of a log. */
export function* parse(lines: string): Generator<LedgerRecord> {
  for (const line of lines.split('\n')) if (line !== '') yield parseLine(line);
}

/** A process killed in the middle of its `write` leaves the beginning of a record, and the next one follows on the same line. */
function parseLine(line: string): LedgerRecord {
  try {
    return JSON.parse(line) as LedgerRecord;
  } catch (error) {
    const next = line.lastIndexOf('{"at":');
    if (next <= 0) throw new SyntaxError(`not a record: ${line}`, { cause: error });
    return JSON.parse(line.slice(next)) as LedgerRecord;
  }
}
