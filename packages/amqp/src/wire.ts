import type { Socket } from 'node:net';
import { type FrameHandler, FrameParser } from './protocol/parser.js';
import { DEFAULT_FRAME_MAX } from './protocol/spec.js';
import { OutboundBuffer } from './protocol/writer.js';

/** From so many unsent bytes on, publishers have to wait. */
export const HIGH_WATER = 16 * 1024 * 1024;
/** While a socket holds this many unsent bytes it is given no more, so that short frames can still overtake long bodies. */
const SOCKET_WINDOW = 256 * 1024;
/** After so many bytes a publisher that never leaves the microtask queue must let the event loop turn. */
const TURN_BYTES = 1024 * 1024;
/** How long a peer that does not read may hold up the end of a connection that is over, in milliseconds. */
const GRACE = 1000;

const READY: Promise<void> = Promise.resolve();

/** What a {@link Wire} reports to, beside the frames. */
export interface WireReceiver extends FrameHandler {
  /** The peer sent what the protocol forbids, or a handler of frames failed. Nothing is parsed after this. */
  onMalformed(error: unknown): void;
  /** The socket ended (`cause` undefined) or failed. Called once at most, and not after {@link Wire.end} or destroy. */
  onLost(cause: Error | undefined): void;
  /** The wire is no longer {@link Wire.congested}. */
  onDrain(): void;
}

/**
 * A socket with the codec on both sides of it: chunks in, frames out to the receiver; frames in, one write per tick out.
 *
 * ```
 *   receiver ◀── FrameParser ◀── 'data' ── socket
 *   caller ──▶ OutboundBuffer ── flush ──▶ socket     at the end of the tick, or at once when 64 KiB wait
 * ```
 */
export class Wire {
  readonly outbound: OutboundBuffer;
  /** Signs of life (bytes received) and bytes handed to the socket since the beginning: what heartbeats look at. */
  received = 0;
  sent = 0;
  readonly #socket: Socket;
  readonly #receiver: WireReceiver;
  readonly #parser: FrameParser;
  #over = false;
  #scheduled = false;
  #congested = false;
  #turn: Promise<void> | undefined;
  /** What was {@link #taken} when the event loop last had its turn. */
  #takenBefore = 0;
  /** How often it was paused and not resumed. */
  #pauses = 0;

  constructor(socket: Socket, receiver: WireReceiver) {
    this.#socket = socket;
    this.#receiver = receiver;
    this.#parser = new FrameParser(receiver, DEFAULT_FRAME_MAX);
    this.outbound = new OutboundBuffer({
      onPending: () => this.#schedule(),
      onFull: () => this.flush(),
      frameMax: DEFAULT_FRAME_MAX,
    });
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    socket.on('drain', () => this.#drained());
    socket.on('end', () => this.#lost(undefined));
    socket.on('error', (error) => this.#lost(error));
    socket.on('close', () => this.#lost(undefined));
  }

  /** For both directions. 0: no limit. */
  setFrameMax(frameMax: number): void {
    this.#parser.setFrameMax(frameMax);
    this.outbound.setFrameMax(frameMax);
  }

  /** Bytes that wait for the socket or in it. */
  get bufferedBytes(): number {
    return this.outbound.byteLength + this.#socket.writableLength;
  }

  /** {@link HIGH_WATER} bytes or more are unsent. After this was read as true, `onDrain` tells when it has become false. */
  get congested(): boolean {
    if (this.bufferedBytes >= HIGH_WATER) this.#congested = true;
    return this.#congested;
  }

  /**
   * Resolves at once mostly, but now and then only in the next turn of the event loop: a loop of publishes that awaits
   * nothing else would keep sockets and timers waiting until it is done.
   */
  turn(): Promise<void> {
    if (this.#taken - this.#takenBefore < TURN_BYTES) return READY;
    this.#turn ??= new Promise((resolve) => {
      setImmediate(() => {
        this.#turn = undefined;
        this.#takenBefore = this.#taken;
        resolve();
      });
    });
    return this.#turn;
  }

  /** Bytes taken from publishers since the beginning, also those that a slow peer keeps waiting. */
  get #taken(): number {
    return this.sent + this.outbound.byteLength;
  }

  #schedule(): void {
    if (this.#scheduled || this.#over) return;
    this.#scheduled = true;
    process.nextTick(() => this.flush());
  }

  /** Writes what waits, as far as the socket keeps up; the rest follows when it has drained. */
  flush(): void {
    this.#scheduled = false;
    const { outbound } = this;
    while (!this.#over && outbound.byteLength > 0 && this.#socket.writableLength < SOCKET_WINDOW) {
      this.#write(outbound.take());
    }
  }

  #write(chunks: Uint8Array[]): void {
    const { outbound } = this;
    const { spent } = outbound;
    const last = chunks.length - 1;
    let bytes = 0;
    if (last > 0) this.#socket.cork();
    for (let i = 0; i <= last; i++) {
      const chunk = chunks[i] as Uint8Array;
      bytes += chunk.length;
      // Written in order: when the last one is, all are.
      if (i < last || spent.length === 0) this.#socket.write(chunk);
      else this.#socket.write(chunk, (error) => error ?? outbound.reuse(spent));
    }
    if (last > 0) this.#socket.uncork();
    if (this.#socket.writableLength === 0) outbound.rewind();
    this.sent += bytes;
  }

  /** Reads nothing until {@link resume} was called as often as this. */
  pause(): void {
    // That nothing is read says nothing of the peer.
    this.received += 1;
    this.#pauses += 1;
    if (this.#pauses === 1 && !this.#over) this.#socket.pause();
  }

  resume(): void {
    if (this.#pauses === 0) return;
    this.#pauses -= 1;
    if (this.#pauses === 0 && !this.#over) this.#socket.resume();
  }

  #read(chunk: Buffer): void {
    if (this.#over) return;
    this.received += chunk.length;
    try {
      this.#parser.execute(chunk);
    } catch (error) {
      this.#parser.stop();
      this.#receiver.onMalformed(error);
    }
  }

  #drained(): void {
    this.flush();
    this.#relieve();
  }

  #relieve(): void {
    if (!this.#congested || this.#over || this.bufferedBytes >= HIGH_WATER) return;
    this.#congested = false;
    this.#receiver.onDrain();
  }

  /** Forgets what waits for a channel that the peer closed: see OutboundBuffer.dropChannel. */
  dropChannel(channel: number): void {
    this.outbound.dropChannel(channel);
    this.#relieve();
  }

  #lost(cause: Error | undefined): void {
    if (this.#over) return;
    this.#stop();
    this.#socket.destroy();
    this.#receiver.onLost(cause);
  }

  #stop(): void {
    this.#over = true;
    this.#parser.stop();
  }

  /**
   * Sends what waits and closes the socket; parses nothing more. Resolves when the socket is closed. A peer that does not
   * take the rest within a second is cut off.
   */
  end(): Promise<void> {
    if (!this.#over) {
      // A socket that is not read does not notice its end.
      this.#socket.resume();
      while (this.outbound.byteLength > 0) this.#write(this.outbound.take());
      this.#stop();
      this.#socket.destroySoon();
    }
    return new Promise((resolve) => {
      if (this.#socket.closed) {
        resolve();
        return;
      }
      const timer = setTimeout(() => this.#socket.destroy(), GRACE).unref();
      this.#socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /** Drops the socket and what waits. */
  destroy(): void {
    this.#stop();
    this.#socket.destroy();
  }
}
