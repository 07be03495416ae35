/**
 * A broker made of a script: a real TCP (or TLS) server whose other half is the test. It speaks through the codec's server
 * side, and says whatever it is told to, also what no broker may.
 *
 * ```ts
 * const broker = await FakeBroker.listen(async (peer) => {
 *   await peer.handshake({ tune: { frameMax: 8192 } });
 *   await peer.serve({ 'queue.declare': ({ channel }) => peer.send(channel, 'channel.close', notFound) });
 * });
 * const connection = await connect(broker.url);
 * …
 * await broker.close();   // throws what a script threw
 * ```
 */
import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import {
  type BasicProperties,
  ContentAssembler,
  type ContentMethodName,
  DecodedProperties,
  decodeMethod,
  type FieldTable,
  FrameParser,
  METHODS,
  type MethodArguments,
  type MethodInput,
  type MethodName,
  OutboundBuffer,
  PROTOCOL_HEADER,
} from '../../src/protocol/index.js';

/** What the client sent: a method, with its content where it has one. */
export interface Incoming<N extends MethodName = MethodName> {
  readonly channel: number;
  readonly name: N;
  readonly arguments: MethodArguments<N>;
  /** Of basic.publish. */
  readonly properties: DecodedProperties;
  readonly body: Buffer;
}

type AnyIncoming = { [N in MethodName]: Incoming<N> }[MethodName];

export type Handlers = { [N in MethodName]?: (method: Incoming<N>, peer: FakePeer) => void | Promise<void> };

export interface HandshakeOptions {
  /** Added to the server's properties. */
  readonly properties?: FieldTable;
  readonly mechanisms?: string;
  readonly tune?: { readonly channelMax?: number; readonly frameMax?: number; readonly heartbeat?: number };
}

export interface HandshakeResult {
  readonly startOk: MethodArguments<'connection.start-ok'>;
  readonly tuneOk: MethodArguments<'connection.tune-ok'>;
  readonly open: MethodArguments<'connection.open'>;
}

const NO_PROPERTIES = new DecodedProperties(Buffer.alloc(2));
const NO_BODY = Buffer.alloc(0);

/** The answers of an obliging broker that keeps no messages. */
const OBLIGING: Handlers = {
  'connection.close': (_, peer) => {
    peer.send(0, 'connection.close-ok', {});
    peer.end();
  },
  'channel.open': ({ channel }, peer) => peer.send(channel, 'channel.open-ok', {}),
  'channel.close': ({ channel }, peer) => peer.send(channel, 'channel.close-ok', {}),
  'queue.declare': ({ channel, arguments: { queue } }, peer) =>
    peer.send(channel, 'queue.declare-ok', { queue: queue || 'made-up', messageCount: 0, consumerCount: 0 }),
  'basic.consume': ({ channel, arguments: { consumerTag, nowait } }, peer) => {
    if (!nowait) peer.send(channel, 'basic.consume-ok', { consumerTag });
  },
  'basic.cancel': ({ channel, arguments: { consumerTag, nowait } }, peer) => {
    if (!nowait) peer.send(channel, 'basic.cancel-ok', { consumerTag });
  },
  'basic.qos': ({ channel }, peer) => peer.send(channel, 'basic.qos-ok', {}),
  'confirm.select': ({ channel, arguments: { nowait } }, peer) => {
    if (!nowait) peer.send(channel, 'confirm.select-ok', {});
  },
};

/** One client's connection, seen from the broker. */
export class FakePeer {
  readonly socket: net.Socket;
  /** Methods and contents that came and were not taken yet. */
  readonly received: AnyIncoming[] = [];
  /** Everything that came, in order, also what was taken. */
  readonly log: AnyIncoming[] = [];
  heartbeats = 0;
  /** Bytes that came after the protocol header. */
  bytes = 0;
  /** The client's side of the socket is closed. */
  ended = false;
  readonly #outbound: OutboundBuffer;
  readonly #parser: FrameParser;
  readonly #contents = new Map<number, ContentAssembler<AnyIncoming>>();
  #header = Buffer.alloc(0);
  #wake: (() => void)[] = [];
  #problem: unknown;

  constructor(socket: net.Socket) {
    this.socket = socket;
    this.#outbound = new OutboundBuffer({ onPending: () => undefined, frameMax: 0 });
    this.#parser = new FrameParser(
      {
        onMethod: (channel, id, buffer, start, end) => this.#onMethod(channel, id, buffer, start, end),
        onContentHeader: (channel, classId, size, buffer, start, end) =>
          this.#content(channel).header(classId, size, buffer, start, end),
        onBody: (channel, buffer, start, end, left) => this.#content(channel).body(buffer, start, end, left),
        onHeartbeat: () => {
          this.heartbeats += 1;
          this.#awaken();
        },
      },
      0,
    );
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', () => this.#onEnd());
    socket.on('end', () => this.#onEnd());
    socket.on('close', () => this.#onEnd());
  }

  // ── reading ────────────────────────────────────────────────────────────────────────────────────────────────────

  #onData(chunk: Buffer): void {
    let frames = chunk;
    if (this.#header.length < PROTOCOL_HEADER.length) {
      const missing = PROTOCOL_HEADER.length - this.#header.length;
      this.#header = Buffer.concat([this.#header, chunk.subarray(0, missing)]);
      frames = chunk.subarray(missing);
    }
    this.bytes += frames.length;
    try {
      if (frames.length > 0) this.#parser.execute(frames);
    } catch (error) {
      this.#problem ??= error;
      this.socket.destroy();
    }
    this.#awaken();
  }

  #onMethod(channel: number, id: number, buffer: Buffer, start: number, end: number): void {
    const method = { channel, ...decodeMethod(id, buffer, start, end), properties: NO_PROPERTIES, body: NO_BODY };
    if ((METHODS[method.name] as { content?: true }).content) this.#content(channel).begin(method as AnyIncoming);
    else this.#push(method as AnyIncoming);
  }

  #content(channel: number): ContentAssembler<AnyIncoming> {
    let assembler = this.#contents.get(channel);
    if (assembler === undefined) {
      assembler = new ContentAssembler<AnyIncoming>(
        {
          onContent: (method, properties, body) => this.#push({ ...method, properties, body } as AnyIncoming),
          onContentTooLarge: (_method, _properties, error) => {
            throw error;
          },
        },
        { maxBodyBytes: Number.MAX_SAFE_INTEGER },
      );
      this.#contents.set(channel, assembler);
    }
    return assembler;
  }

  #push(method: AnyIncoming): void {
    this.received.push(method);
    this.log.push(method);
  }

  #onEnd(): void {
    this.ended = true;
    this.#awaken();
  }

  #awaken(): void {
    const wake = this.#wake;
    this.#wake = [];
    for (const resolve of wake) resolve();
  }

  /** Resolves when `condition` holds, which is looked at whenever something came. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.#problem !== undefined) throw this.#problem;
      await new Promise<void>((resolve) => this.#wake.push(resolve));
    }
  }

  /** The next method, or undefined when the client hung up. */
  async next(): Promise<AnyIncoming | undefined> {
    await this.until(() => this.received.length > 0 || this.ended);
    return this.received.shift();
  }

  /** The next method, which must be this one. */
  async expect<N extends MethodName>(name: N): Promise<Incoming<N>> {
    const method = await this.next();
    if (method?.name !== name) throw new Error(`the client sent ${method?.name ?? 'nothing more'} instead of ${name}`);
    return method as Incoming<MethodName> as Incoming<N>;
  }

  /** Resolves when the client hung up. */
  async hangup(): Promise<void> {
    await this.until(() => this.ended);
  }

  // ── writing ────────────────────────────────────────────────────────────────────────────────────────────────────

  send<N extends MethodName>(channel: number, name: N, args: MethodInput<N>): void {
    this.#outbound.method(channel, name, args);
    this.#flush();
  }

  /** A method with content. */
  content<N extends ContentMethodName>(
    channel: number,
    name: N,
    args: MethodInput<N>,
    body: Uint8Array | string = '',
    properties: BasicProperties = {},
  ): void {
    this.#outbound.content(channel, name, args, properties, body);
    this.#flush();
  }

  /** basic.deliver with what is usual. */
  deliver(
    channel: number,
    consumerTag: string,
    deliveryTag: number,
    body: Uint8Array | string = 'body',
    properties: BasicProperties = {},
  ): void {
    const args = { consumerTag, deliveryTag, redelivered: false, exchange: '', routingKey: 'queue' };
    this.content(channel, 'basic.deliver', args, body, properties);
  }

  heartbeat(): void {
    this.#outbound.heartbeat();
    this.#flush();
  }

  /** Any bytes. */
  raw(bytes: Uint8Array | string): void {
    this.socket.write(bytes);
  }

  /** Runs `write` and gives its bytes back instead of sending them. */
  record(write: () => void): Buffer {
    this.#recording = true;
    try {
      write();
      return Buffer.concat(this.#drain());
    } finally {
      this.#recording = false;
    }
  }

  #recording = false;

  #drain(): Uint8Array[] {
    const chunks: Uint8Array[] = [];
    while (this.#outbound.byteLength > 0) chunks.push(...this.#outbound.take());
    return chunks;
  }

  #flush(): void {
    if (this.#recording) return;
    for (const chunk of this.#drain()) if (this.socket.writable) this.socket.write(chunk);
  }

  /** The longest frames to send. */
  setFrameMax(frameMax: number): void {
    this.#outbound.setFrameMax(frameMax);
  }

  // ── the usual course ───────────────────────────────────────────────────────────────────────────────────────────

  /** Waits for the protocol header and sends connection.start. */
  async start({ properties = {}, mechanisms = 'PLAIN AMQPLAIN' }: HandshakeOptions = {}): Promise<void> {
    await this.until(() => this.#header.length === PROTOCOL_HEADER.length || this.ended);
    if (!this.#header.equals(PROTOCOL_HEADER)) throw new Error('the client did not send AMQP 0-9-1');
    this.send(0, 'connection.start', {
      versionMajor: 0,
      versionMinor: 9,
      serverProperties: { product: 'FakeBroker', version: '1.0', ...properties },
      mechanisms,
      locales: 'en_US',
    });
  }

  /** The whole handshake, up to connection.open-ok. */
  async handshake(options: HandshakeOptions = {}): Promise<HandshakeResult> {
    await this.start(options);
    const { arguments: startOk } = await this.expect('connection.start-ok');
    const { channelMax = 2047, frameMax = 131_072, heartbeat = 0 } = options.tune ?? {};
    this.send(0, 'connection.tune', { channelMax, frameMax, heartbeat });
    const { arguments: tuneOk } = await this.expect('connection.tune-ok');
    const { arguments: open } = await this.expect('connection.open');
    this.setFrameMax(tuneOk.frameMax);
    // The client has to keep to it too.
    this.#parser.setFrameMax(tuneOk.frameMax);
    this.send(0, 'connection.open-ok', {});
    return { startOk, tuneOk, open };
  }

  /** Answers until the client hangs up: by the given handlers, else obligingly, else not at all. */
  async serve(handlers: Handlers = {}): Promise<void> {
    const all: Handlers = { ...OBLIGING, ...handlers };
    for (let method = await this.next(); method !== undefined; method = await this.next()) {
      const handler = all[method.name] as ((method: AnyIncoming, peer: FakePeer) => void | Promise<void>) | undefined;
      await handler?.(method, this);
    }
  }

  /** Reads no more: the client's bytes stay in the network. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Hangs up in order. */
  end(): void {
    this.socket.end();
  }

  /** Hangs up with a reset. */
  reset(): void {
    this.socket.resetAndDestroy();
  }
}

export type Script = (peer: FakePeer, index: number) => void | Promise<void>;

export interface FakeBrokerOptions {
  /** Speak TLS. */
  readonly tls?: tls.TlsOptions;
}

/** Handshake, then obliging answers. */
export const obliging: Script = async (peer) => {
  await peer.handshake();
  await peer.serve();
};

export class FakeBroker {
  readonly peers: FakePeer[] = [];
  readonly #server: net.Server;
  readonly #scripts: Promise<void>[] = [];
  readonly #scheme: string;
  #waiting: (() => void)[] = [];

  private constructor(server: net.Server, scheme: string) {
    this.#server = server;
    this.#scheme = scheme;
  }

  /** Listens on a free port of the loopback interface; runs `script` for each client. */
  static async listen(script: Script = obliging, options: FakeBrokerOptions = {}): Promise<FakeBroker> {
    const server =
      options.tls === undefined
        ? net.createServer({ noDelay: true })
        : tls.createServer({ noDelay: true, ...options.tls });
    const broker = new FakeBroker(server, options.tls === undefined ? 'amqp' : 'amqps');
    server.on(options.tls === undefined ? 'connection' : 'secureConnection', (socket: net.Socket) => {
      const peer = new FakePeer(socket);
      const index = broker.peers.push(peer) - 1;
      const run = (async () => script(peer, index))();
      run.catch(() => socket.destroy());
      broker.#scripts.push(run);
      for (const wake of broker.#waiting.splice(0)) wake();
    });
    server.on('tlsClientError', () => undefined);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return broker;
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port;
  }

  /** Of vhost `/`, for guest. */
  get url(): string {
    return `${this.#scheme}://127.0.0.1:${this.port}`;
  }

  /** The peer of client number `index`, once it has come. */
  async peer(index = 0): Promise<FakePeer> {
    while (this.peers[index] === undefined) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.peers[index];
  }

  /** Hangs up on everybody and frees the port. Throws what a script threw. */
  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const { socket } of this.peers) socket.destroy();
    await closed;
    await Promise.all(this.#scripts);
  }
}
