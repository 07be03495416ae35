/** Ticks in one heartbeat interval. More make the measure finer. */
const TICKS = 4;
/** Send after half an interval in which nothing was sent. */
const SEND_AFTER = TICKS / 2;
/** The peer is dead after two intervals in which nothing came (0-9-1 section 4.2.7). */
const DEAD_AFTER = TICKS * 2;

/** What a {@link Heartbeat} watches and drives. */
export interface HeartbeatLink {
  /** Bytes since the beginning, of any kind: every byte is a sign of life. */
  readonly received: number;
  readonly sent: number;
  send(): void;
  dead(): void;
}

/**
 * Sends heartbeats and notices their absence.
 *
 * Silence is counted in ticks of a timer rather than by the clock, because an event loop that was blocked for minutes runs
 * its timer once when it wakes: the time that it slept says nothing of the peer. And when the count is full, the socket is
 * given one more turn of the event loop, in which bytes that came during such a sleep are read.
 */
export class Heartbeat {
  readonly #link: HeartbeatLink;
  readonly #timer: NodeJS.Timeout;
  #immediate: NodeJS.Immediate | undefined;
  #received: number;
  #sent: number;
  #silentTicks = 0;
  #idleTicks = 0;

  /** @param interval milliseconds, as agreed */
  constructor(interval: number, link: HeartbeatLink) {
    this.#link = link;
    this.#received = link.received;
    this.#sent = link.sent;
    // The socket keeps the process alive, not the timer.
    this.#timer = setInterval(() => this.#tick(), interval / TICKS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    clearImmediate(this.#immediate);
  }

  #tick(): void {
    this.#idleTicks = this.#sent === this.#link.sent ? this.#idleTicks + 1 : 0;
    if (this.#idleTicks >= SEND_AFTER) {
      this.#idleTicks = 0;
      this.#link.send();
    }
    this.#sent = this.#link.sent;

    if (this.#heard()) return;
    this.#silentTicks += 1;
    if (this.#silentTicks < DEAD_AFTER || this.#immediate !== undefined) return;
    // Immediates run after the sockets were read.
    this.#immediate = setImmediate(() => {
      this.#immediate = undefined;
      if (!this.#heard()) this.#link.dead();
    });
  }

  #heard(): boolean {
    if (this.#received === this.#link.received) return false;
    this.#received = this.#link.received;
    this.#silentTicks = 0;
    return true;
  }
}
