import type { ByteWriter } from './bytes.js';
import { FRAME_BODY, FRAME_END, FRAME_HEADER_SIZE, FRAME_OVERHEAD } from './spec.js';

/** A lane sends about this much before the next one has its turn. */
const TURN_BYTES = 131_072;
/**
 * Room for the frames that wait behind a body: little at first, since often only the next body's method and header
 * come.
 */
const FIRST_SEGMENT_SIZE = 512;
const SEGMENT_SIZE = 16_384;

/** Frames copied here because their channel is in the middle of a long body. */
interface Segment {
  readonly buffer: Buffer;
  length: number;
}

/** A long body on its way out, frame by frame. */
interface Transfer {
  readonly body: Uint8Array;
  /** Longest payload of one frame. */
  readonly share: number;
  sent: number;
}

/** What waits on one channel: a long body and everything sent on the channel after it, in order. */
interface Lane {
  readonly channel: number;
  readonly queue: (Segment | Transfer)[];
  bytes: number;
}

/**
 * Channels with long bodies take turns.
 *
 * The frames of one body must follow each other on their channel with nothing else of that channel between them
 * (0-9-1 section 4.2.6), but frames of other channels may. So a long body waits in a lane of its channel and hands
 * out a share at a time; what the channel sends meanwhile queues behind it, while all other channels and the
 * heartbeats go ahead.
 *
 * ```
 *   channel 1: [body ▓▓▓▓▓▓▓▓▓▓▓▓][ack][publish][body ▓▓▓]     ┐
 *   channel 7: [body ▓▓▓▓▓▓]                                   ├─ in turns ─▶ socket
 *   channel 9: no lane: straight into the slab ────────────────┘   (ahead of all turns)
 * ```
 */
export class Lanes {
  /** In order of turns: the first is next. */
  readonly #lanes = new Map<number, Lane>();
  #bytes = 0;

  /** Bytes that wait in all lanes, the frames' overhead included. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether what the channel sends must wait for a body. */
  has(channel: number): boolean {
    return this.#lanes.size > 0 && this.#lanes.has(channel);
  }

  /** Queues complete frames (a copy) behind the channel's body. */
  append(channel: number, frames: Uint8Array): void {
    const lane = this.#lane(channel);
    let segment = lane.queue.at(-1);
    if (segment === undefined || 'body' in segment || segment.buffer.length - segment.length < frames.length) {
      const size = segment === undefined || 'body' in segment ? FIRST_SEGMENT_SIZE : SEGMENT_SIZE;
      segment = { buffer: Buffer.allocUnsafe(Math.max(size, frames.length)), length: 0 };
      lane.queue.push(segment);
    }
    segment.buffer.set(frames, segment.length);
    segment.length += frames.length;
    this.#count(lane, frames.length);
  }

  /** Queues a body, in frames of at most `share` bytes of payload. It is referenced, not copied. */
  transfer(channel: number, body: Uint8Array, share: number): void {
    const lane = this.#lane(channel);
    const transfer: Transfer = { body, share, sent: 0 };
    lane.queue.push(transfer);
    this.#count(lane, bytesLeft(transfer));
  }

  /** Forgets what waits on a channel, but for the rest of a body that has begun. */
  drop(channel: number): void {
    const lane = this.#lanes.get(channel);
    const head = lane?.queue[0];
    if (lane === undefined || head === undefined) return;
    if ('body' in head) {
      lane.queue.length = 1;
      this.#count(lane, bytesLeft(head) - lane.bytes);
    } else {
      this.#lanes.delete(channel);
      this.#bytes -= lane.bytes;
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#lanes.clear();
    this.#bytes = 0;
  }

  /** Lets the lanes take turns until at least `budget` bytes went into the writer or all lanes are empty. */
  emit(writer: ByteWriter, budget: number): void {
    const target = this.#bytes - budget;
    for (const [channel, lane] of this.#lanes) {
      if (this.#bytes <= target) return;
      // Deleted and set again, a lane comes last: the loop meets it once more when all others had their turn.
      this.#lanes.delete(channel);
      this.#turn(lane, writer);
      if (lane.queue.length > 0) this.#lanes.set(channel, lane);
    }
  }

  #turn(lane: Lane, writer: ByteWriter): void {
    let left = TURN_BYTES;
    while (left > 0 && lane.queue.length > 0) {
      const head = lane.queue[0] as Segment | Transfer;
      let written: number;
      let done = true;
      if ('body' in head) {
        const end = Math.min(head.sent + head.share, head.body.length);
        written = referenceBodyFrame(writer, lane.channel, head.body.subarray(head.sent, end));
        head.sent = end;
        done = end === head.body.length;
      } else {
        writer.reference(head.buffer.subarray(0, head.length));
        written = head.length;
      }
      if (done) lane.queue.shift();
      this.#count(lane, -written);
      left -= written;
    }
  }

  #lane(channel: number): Lane {
    let lane = this.#lanes.get(channel);
    if (lane === undefined) {
      lane = { channel, queue: [], bytes: 0 };
      this.#lanes.set(channel, lane);
    }
    return lane;
  }

  #count(lane: Lane, bytes: number): void {
    lane.bytes += bytes;
    this.#bytes += bytes;
  }
}

/** What a transfer has yet to send, frames and all. */
function bytesLeft({ body, share, sent }: Transfer): number {
  const payload = body.length - sent;
  return payload + Math.ceil(payload / share) * FRAME_OVERHEAD;
}

/** Writes one body frame around bytes that are not copied; returns its length. */
export function referenceBodyFrame(writer: ByteWriter, channel: number, payload: Uint8Array): number {
  writer.begin();
  writer.octet(FRAME_BODY);
  writer.short(channel);
  writer.long(payload.length);
  writer.reference(payload);
  writer.octet(FRAME_END);
  return FRAME_HEADER_SIZE + payload.length + 1;
}
