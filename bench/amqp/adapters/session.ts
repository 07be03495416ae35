/** A connection of the limits: handshake and calls in no hurry, then the socket alone. */
import { connect, type Socket } from 'node:net';
import { method, shortstr, table, uint } from '../wire.ts';

export class Session {
  readonly socket: Socket;
  /** Takes what comes once the scenario has begun; until then answers to calls are awaited. */
  onData: ((chunk: Buffer) => void) | undefined;
  #waiting: ((method: number) => void) | undefined;
  #data: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      if (this.onData !== undefined) this.onData(chunk);
      else this.#gather(chunk);
    });
  }

  static async open(url: string): Promise<Session> {
    const { hostname, port, username, password, pathname } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    const session = new Session(socket);
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    await session.call(Buffer.from('AMQP\0\0\x09\x01', 'latin1'));
    const login = Buffer.from(
      `\0${decodeURIComponent(username || 'guest')}\0${decodeURIComponent(password || 'guest')}`,
    );
    const answer = Buffer.concat([uint(login.length, 4), login]);
    await session.call(method(0, 10, 11, table({}), shortstr('PLAIN'), answer, shortstr('en_US')));
    socket.write(method(0, 10, 31, uint(2047, 2), uint(131_072, 4), uint(0, 2)));
    const virtualHost = decodeURIComponent(pathname.slice(1)) || '/';
    await session.call(method(0, 10, 40, shortstr(virtualHost), shortstr(''), uint(0, 1)));
    return session;
  }

  /** Sends a method and waits for the next one to come. */
  call(bytes: Buffer): Promise<number> {
    return new Promise((resolve) => {
      this.#waiting = resolve;
      this.socket.write(bytes);
    });
  }

  async channel(number: number, confirm: boolean): Promise<void> {
    await this.call(method(number, 20, 10, shortstr('')));
    if (confirm) await this.call(method(number, 85, 10, uint(0, 1)));
  }

  /** Resolves when the broker has read everything on the channel. */
  async sync(number: number): Promise<void> {
    const onData = this.onData;
    this.onData = undefined;
    await this.call(method(number, 50, 10, uint(0, 2), shortstr('bench'), uint(1, 1), table({})));
    this.onData = onData;
  }

  /** Starts consuming, and hands what comes to `onData` from then on. */
  consume(number: number, queue: string, noAck: boolean, prefetch: number, onData: (chunk: Buffer) => void): void {
    this.onData = onData;
    if (!noAck) this.socket.write(method(number, 60, 10, uint(0, 4), uint(prefetch, 2), uint(0, 1)));
    const fields = [uint(0, 2), shortstr(queue), shortstr(`c${number}`), uint(noAck ? 2 : 0, 1), table({})];
    this.socket.write(method(number, 60, 20, ...fields));
  }

  #gather(chunk: Buffer): void {
    this.#data = Buffer.concat([this.#data, chunk]);
    while (this.#data.length >= 8) {
      const end = this.#data.readUInt32BE(3) + 8;
      if (this.#data.length < end) return;
      const data = this.#data;
      this.#data = data.subarray(end);
      if (data[0] !== 1) continue;
      const waiting = this.#waiting;
      this.#waiting = undefined;
      waiting?.(data.readUInt32BE(7));
    }
  }
}

/**
 * Cuts a stream into frames: `onFrame` gets type, channel, and where the payload lies. Frames that come in pieces are put together first, but
 * for those of bodies (3): their pieces are handed on as they come.
 */
export function frames(
  onFrame: (type: number, channel: number, data: Buffer, start: number, end: number) => void,
  onChunkEnd: () => void,
): (chunk: Buffer) => void {
  let rest: Buffer | undefined;
  /** Of a body frame: bytes to come, its end octet included. */
  let left = 0;
  let bodyChannel = 0;
  return (chunk) => {
    let data = chunk;
    if (rest !== undefined) {
      data = Buffer.concat([rest, chunk]);
      rest = undefined;
    }
    const { length } = data;
    let at = 0;
    if (left > 0) {
      const end = Math.min(left - 1, length);
      if (end > 0) onFrame(3, bodyChannel, data, 0, end);
      at = Math.min(left, length);
      left -= at;
      if (left === 0 && data[at - 1] !== 0xce) throw new Error('malformed');
    }
    while (length - at >= 8) {
      const type = data[at]!;
      const size = (data[at + 3]! << 24) | (data[at + 4]! << 16) | (data[at + 5]! << 8) | data[at + 6]!;
      const channel = (data[at + 1]! << 8) | data[at + 2]!;
      const start = at + 7;
      const end = start + size;
      if (end < length) {
        if (data[end] !== 0xce) throw new Error('malformed');
        onFrame(type, channel, data, start, end);
        at = end + 1;
      } else if (type === 3) {
        left = end + 1 - length;
        bodyChannel = channel;
        onFrame(3, channel, data, start, length);
        at = length;
      } else {
        break;
      }
    }
    if (at < length) rest = data.subarray(at);
    onChunkEnd();
  };
}
