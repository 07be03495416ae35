import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * A TCP proxy that misbehaves on command, between a client and a broker.
 *
 * ```
 *            toBroker                 toBroker
 *  client ─────────────▶ FaultProxy ─────────────▶ broker
 *         ◀─────────────            ◀─────────────
 *            toClient                 toClient
 * ```
 *
 * A fault is set for one direction of the whole proxy and holds, for present and future connections, until another
 * replaces it. A trigger acts once.
 */
export type Direction = 'toBroker' | 'toClient';

export type Fault =
  | { readonly kind: 'none' }
  /** Half-open: reads, and silently throws away. An end of stream is not passed on either. */
  | { readonly kind: 'swallow' }
  /** Stops reading, so that the sender's buffers fill up. Nothing is lost. */
  | { readonly kind: 'stall' }
  /** Every piece arrives this much later (milliseconds), in order. */
  | { readonly kind: 'delay'; readonly ms: number }
  /** At most this many bytes per second on each connection. */
  | { readonly kind: 'throttle'; readonly bytesPerSecond: number };

/** What happens once, when `after` further bytes have passed in a direction (of all connections together). */
export type Trigger =
  | { readonly kind: 'cut'; readonly after: number }
  | { readonly kind: 'reset'; readonly after: number }
  /** Inverts the bits of `mask` (0xff) in the byte that follows. */
  | { readonly kind: 'corrupt'; readonly after: number; readonly mask?: number | undefined };

/** Pieces per second that a throttled direction is cut into. */
const THROTTLE_RATE = 50;

/**
 * Ports are taken from below the range that Linux hands to outgoing connections (32768 and up), so that nobody takes
 * one over while the proxy refuses connections.
 */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;

/** The state of one direction, shared by all connections. */
class Gate {
  bytes = 0;
  #fault: Fault = { kind: 'none' };
  #trigger: { readonly kind: Trigger['kind']; remaining: number; readonly mask: number } | undefined;
  #changed: Promise<void>;
  #announce: () => void = () => {};
  #watchers: { readonly at: number; readonly resolve: () => void }[] = [];

  constructor() {
    this.#changed = this.#arm();
  }

  get fault(): Fault {
    return this.#fault;
  }

  set fault(fault: Fault) {
    this.#fault = fault;
    const announce = this.#announce;
    this.#changed = this.#arm();
    announce();
  }

  /** Resolves when the fault is replaced. */
  get changed(): Promise<void> {
    return this.#changed;
  }

  set trigger(trigger: Trigger | undefined) {
    this.#trigger = trigger && {
      kind: trigger.kind,
      remaining: trigger.after,
      mask: trigger.kind === 'corrupt' ? (trigger.mask ?? 0xff) : 0,
    };
  }

  /** What is left of a piece after the trigger: all of it, damaged, or its first bytes and how the connection ends. */
  apply(piece: Buffer): { readonly bytes: Buffer; readonly end?: 'cut' | 'reset' } {
    const trigger = this.#trigger;
    if (trigger === undefined) return { bytes: piece };
    const due = trigger.kind === 'corrupt' ? trigger.remaining < piece.length : trigger.remaining <= piece.length;
    if (!due) {
      trigger.remaining -= piece.length;
      return { bytes: piece };
    }
    this.#trigger = undefined;
    if (trigger.kind !== 'corrupt') return { bytes: piece.subarray(0, trigger.remaining), end: trigger.kind };
    const damaged = Buffer.from(piece);
    damaged[trigger.remaining] = (damaged[trigger.remaining] as number) ^ trigger.mask;
    return { bytes: damaged };
  }

  passed(bytes: number): void {
    this.bytes += bytes;
    if (this.#watchers.length === 0) return;
    const due = this.#watchers.filter(({ at }) => at <= this.bytes);
    this.#watchers = this.#watchers.filter(({ at }) => at > this.bytes);
    for (const { resolve } of due) resolve();
  }

  reach(at: number): Promise<void> {
    if (this.bytes >= at) return Promise.resolve();
    return new Promise((resolve) => this.#watchers.push({ at, resolve }));
  }

  #arm(): Promise<void> {
    return new Promise((resolve) => {
      this.#announce = resolve;
    });
  }
}

/** One proxied connection: two sockets and a pump for each direction. */
class Link {
  readonly client: Socket;
  readonly broker: Socket;
  /** Resolves when both sockets are closed. */
  readonly closed: Promise<void>;
  readonly #sleepers = new Map<NodeJS.Timeout, () => void>();

  constructor(client: Socket, broker: Socket, gates: Readonly<Record<Direction, Gate>>) {
    this.client = client;
    this.broker = broker;
    for (const socket of [client, broker]) {
      socket.setNoDelay(true);
      socket.on('error', () => {}); // Either end may fail at any time; 'close' follows.
    }
    this.closed = Promise.all([closeOf(client), closeOf(broker)]).then(() => {
      for (const [timer, wake] of this.#sleepers) {
        clearTimeout(timer);
        wake();
      }
    });
    void this.#pump(client, broker, gates.toBroker);
    void this.#pump(broker, client, gates.toClient);
  }

  /** Ends both sides in order, after what was passed on already. */
  cut(): void {
    this.client.end(() => this.client.destroy());
    this.broker.end(() => this.broker.destroy());
  }

  /** RST to both sides. */
  reset(): void {
    reset(this.client);
    reset(this.broker);
  }

  async #pump(from: Socket, to: Socket, gate: Gate): Promise<void> {
    const sourceClosed = closeOf(from);
    const sinkClosed = closeOf(to);
    let delayed: Promise<void> = Promise.resolve();
    let failed = false;
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        let rest = chunk;
        while (rest.length > 0 && !to.destroyed) {
          const { fault } = gate;
          if (fault.kind === 'stall') {
            await Promise.race([gate.changed, sourceClosed]);
            if (from.destroyed) return;
            continue;
          }
          const size =
            fault.kind === 'throttle'
              ? Math.min(rest.length, Math.max(1, Math.floor(fault.bytesPerSecond / THROTTLE_RATE)))
              : rest.length;
          const piece = rest.subarray(0, size);
          rest = rest.subarray(size);
          if (fault.kind === 'swallow') continue;
          if (fault.kind === 'delay') {
            // Not awaited: bytes keep coming in, and each goes out this much later.
            const due = this.#sleep(fault.ms);
            delayed = delayed.then(() => due).then(() => this.#forward(piece, to, gate, sinkClosed));
            continue;
          }
          await delayed;
          await this.#forward(piece, to, gate, sinkClosed);
          if (fault.kind === 'throttle') await this.#sleep((size * 1000) / fault.bytesPerSecond);
        }
      }
    } catch {
      failed = true;
    }
    await delayed;
    if (gate.fault.kind === 'swallow') return; // The peer never learns of it.
    if (failed) reset(to);
    else to.end();
  }

  async #forward(piece: Buffer, to: Socket, gate: Gate, sinkClosed: Promise<void>): Promise<void> {
    if (to.destroyed) return;
    const { bytes, end } = gate.apply(piece);
    if (end !== undefined) {
      await Promise.race([new Promise<void>((resolve) => to.write(bytes, () => resolve())), sinkClosed]);
      gate.passed(bytes.length);
      this[end]();
      return;
    }
    const room = to.write(bytes);
    gate.passed(bytes.length);
    if (!room) await Promise.race([new Promise<void>((resolve) => to.once('drain', () => resolve())), sinkClosed]);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#sleepers.delete(timer);
        resolve();
      }, ms);
      this.#sleepers.set(timer, resolve);
    });
  }
}

/** RST. While an `end()` is under way libuv refuses it (EINVAL), and Node then never closes the socket: such a one is just closed. */
function reset(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}

function closeOf(socket: Socket): Promise<void> {
  return socket.closed ? Promise.resolve() : new Promise((resolve) => socket.once('close', () => resolve()));
}

/** See {@link Fault} and {@link Trigger}. Made by {@link startFaultProxy}. */
export class FaultProxy {
  readonly host = '127.0.0.1';
  readonly port: number;
  /** Connections taken since the start. */
  accepted = 0;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  readonly #gates: Readonly<Record<Direction, Gate>> = { toBroker: new Gate(), toClient: new Gate() };

  constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  /** Connections open now. */
  get open(): number {
    return this.#links.size;
  }

  /** Bytes passed on in a direction since the start. */
  bytes(direction: Direction): number {
    return this.#gates[direction].bytes;
  }

  /** Resolves when this many more bytes have been passed on. */
  after(bytes: number, direction: Direction): Promise<void> {
    const gate = this.#gates[direction];
    return gate.reach(gate.bytes + bytes);
  }

  set(direction: Direction | 'both', fault: Fault): void {
    for (const each of directions(direction)) this.#gates[each].fault = fault;
  }

  trigger(direction: Direction, trigger: Trigger): void {
    this.#gates[direction].trigger = trigger;
  }

  /** No fault and no trigger in either direction. */
  clear(): void {
    this.set('both', { kind: 'none' });
    for (const each of directions('both')) this.#gates[each].trigger = undefined;
  }

  /** Ends every open connection in order. Resolves when they are closed. */
  async cut(): Promise<void> {
    await this.#each((link) => link.cut());
  }

  /** Resets (RST) every open connection. Resolves when they are closed. */
  async reset(): Promise<void> {
    await this.#each((link) => link.reset());
  }

  /** From now on nobody listens: new connections get ECONNREFUSED. Open ones go on. */
  refuse(): void {
    // The callback comes when the last open connection has ended, which nobody waits for.
    if (this.#server.listening) this.#server.close();
  }

  /** Ends `refuse()`. */
  async accept(): Promise<void> {
    if (!this.#server.listening) await listen(this.#server, this.port);
  }

  /** Stops listening and drops every connection. */
  async close(): Promise<void> {
    this.refuse();
    await this.reset();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** For {@link startFaultProxy}. */
  adopt(client: Socket, broker: Socket): void {
    this.accepted += 1;
    const link = new Link(client, broker, this.#gates);
    this.#links.add(link);
    void link.closed.then(() => this.#links.delete(link));
  }

  async #each(act: (link: Link) => void): Promise<void> {
    const links = [...this.#links];
    for (const link of links) act(link);
    await Promise.all(links.map((link) => link.closed));
  }
}

function directions(which: Direction | 'both'): readonly Direction[] {
  return which === 'both' ? ['toBroker', 'toClient'] : [which];
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Starts a proxy to a broker, on a free port of the loopback interface. */
export async function startFaultProxy(target: { readonly host: string; readonly port: number }): Promise<FaultProxy> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  for (let tries = 0; ; tries++) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    try {
      await listen(server, port);
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || tries === 50) throw error;
    }
  }
  const proxy = new FaultProxy(server);
  server.on('connection', (client) => {
    const refuse = () => reset(client);
    client.on('error', () => {});
    const broker = connect({ host: target.host, port: target.port, allowHalfOpen: true });
    broker.once('error', refuse);
    broker.once('connect', () => {
      broker.off('error', refuse);
      proxy.adopt(client, broker);
    });
  });
  return proxy;
}

/** The same URL, by way of a proxy. */
export function through(proxy: FaultProxy, url: string): string {
  const parsed = new URL(url);
  parsed.hostname = proxy.host;
  parsed.port = String(proxy.port);
  return parsed.href;
}
