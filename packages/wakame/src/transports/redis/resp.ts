/** Size of a piece of memory that is kept for further commands, and how many of them are. */
const KEPT_BYTES = 256 * 1024;
const MOST_KEPT = 4;
/** What stands around an argument takes less. */
const AROUND = 32;

const kept: Buffer[] = [];

/**
 * Commands as they go over the socket (RESP): each an array of strings, with its length and theirs in bytes:
 *
 * ```
 *   *3\r\n $5\r\nLPUSH\r\n $5\r\nqueue\r\n $7\r\nmessage\r\n
 * ```
 */
export class WrittenCommands {
  readonly names: string[] = [];
  #memory = kept.pop() ?? Buffer.allocUnsafeSlow(KEPT_BYTES);
  #end = 0;

  /** Begins a command; so many arguments follow. */
  command(name: string, count: number): this {
    this.names.push(name);
    this.#makeRoom(0);
    this.#end += this.#memory.write(`*${count + 1}\r\n`, this.#end, 'latin1');
    return this.ascii(name);
  }

  /** An argument. */
  text(argument: string): this {
    const length = Buffer.byteLength(argument);
    this.#makeRoom(length);
    this.#end += this.#memory.write(`$${length}\r\n${argument}\r\n`, this.#end);
    return this;
  }

  /** An argument that is ASCII. */
  ascii(argument: string): this {
    this.#makeRoom(argument.length);
    this.#end += this.#memory.write(`$${argument.length}\r\n${argument}\r\n`, this.#end, 'latin1');
    return this;
  }

  /** All that was written. */
  get bytes(): Buffer {
    return this.#memory.subarray(0, this.#end);
  }

  /** Nobody needs it any more: others may write where it stands. */
  free(): void {
    if (this.#memory.length === KEPT_BYTES && kept.length < MOST_KEPT) kept.push(this.#memory);
  }

  #makeRoom(length: number): void {
    const wanted = this.#end + length + AROUND;
    if (wanted <= this.#memory.length) return;
    const larger = Buffer.allocUnsafeSlow(2 * wanted);
    this.bytes.copy(larger);
    this.#memory = larger;
  }
}
