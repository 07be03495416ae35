import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FaultProxy, startFaultProxy, through } from '../lib/network/fault-proxy.ts';

/** A broker that answers every byte with the same byte, and tells of its connections. */
async function startEcho() {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on('error', () => {});
    socket.on('data', (data) => socket.write(data));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    sockets,
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** A client that keeps what it read. */
class Client {
  readonly socket: Socket;
  readonly #chunks: Buffer[] = [];
  #length = 0;
  ended = false;
  error: NodeJS.ErrnoException | undefined;

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (data) => {
      this.#chunks.push(data);
      this.#length += data.length;
    });
    this.socket.on('end', () => {
      this.ended = true;
    });
    this.socket.on('error', (error) => {
      this.error = error;
    });
  }

  get received(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  async read(length: number): Promise<Buffer> {
    while (this.#length < length) await once(this.socket, 'data');
    return this.received;
  }

  async closed(): Promise<void> {
    if (!this.socket.closed) await new Promise((resolve) => this.socket.once('close', resolve));
  }
}

let echo: Awaited<ReturnType<typeof startEcho>>;
let proxy: FaultProxy;
const clients: Client[] = [];

beforeEach(async () => {
  echo = await startEcho();
  proxy = await startFaultProxy({ host: '127.0.0.1', port: echo.port });
});

afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.destroy();
  await proxy.close();
  echo.close();
});

function open(): Client {
  const client = new Client(proxy.port);
  clients.push(client);
  return client;
}

/** Sends, and waits until the echo came back: the connection works. */
async function ping(client: Client, text = 'ping'): Promise<void> {
  const before = client.received.length;
  client.socket.write(text);
  await client.read(before + text.length);
}

const elapsed = (since: number) => performance.now() - since;

describe('the fault proxy', () => {
  it('passes bytes both ways and counts them', async () => {
    const client = open();
    await ping(client, 'hello');
    expect(client.received.toString()).toBe('hello');
    expect(proxy.bytes('toBroker')).toBe(5);
    expect(proxy.bytes('toClient')).toBe(5);
    expect([proxy.accepted, proxy.open]).toEqual([1, 1]);
  });

  it('passes megabytes unchanged', async () => {
    const client = open();
    const sent = Buffer.alloc(8 << 20);
    for (let i = 0; i < sent.length; i += 4) sent.writeUInt32LE(i, i);
    const got = client.read(sent.length);
    client.socket.write(sent);
    expect(sent.equals(await got)).toBe(true);
  });

  it('passes an end of stream on, and what the other side still says', async () => {
    const client = open();
    await ping(client);
    client.socket.end('last');
    await client.closed();
    expect(client.received.toString()).toBe('pinglast');
    expect(client.ended).toBe(true);
  });

  it('passes a reset on', async () => {
    const client = open();
    await ping(client);
    (echo.sockets[0] as Socket).resetAndDestroy();
    await client.closed();
    expect(client.error?.code).toBe('ECONNRESET');
  });

  it('cut ends every connection in order', async () => {
    const [one, two] = [open(), open()];
    await Promise.all([ping(one), ping(two)]);
    await proxy.cut();
    await Promise.all([one.closed(), two.closed()]);
    expect([one.ended, two.ended, one.error, two.error]).toEqual([true, true, undefined, undefined]);
    expect(proxy.open).toBe(0);
  });

  it('reset is an RST on both sides', async () => {
    const client = open();
    await ping(client);
    const broker = echo.sockets[0] as Socket;
    const failed = new Promise<NodeJS.ErrnoException>((resolve) => broker.once('error', resolve));
    await proxy.reset();
    await client.closed();
    expect(client.error?.code).toBe('ECONNRESET');
    expect((await failed).code).toBe('ECONNRESET');
  });

  it('reset closes what is just ending', async () => {
    const client = open();
    await ping(client);
    await Promise.all([proxy.cut(), proxy.reset()]);
    await client.closed();
    expect(proxy.open).toBe(0);
  });

  it('swallow loses what is sent, silently, and hides the end of the sender', async () => {
    const client = open();
    await ping(client);
    proxy.set('toBroker', { kind: 'swallow' });
    client.socket.write('lost');
    await new Promise<void>((resolve) => client.socket.end(() => resolve()));
    proxy.set('toBroker', { kind: 'swallow' });
    const other = open();
    other.socket.write('lost too');
    // The other direction still works: what the broker says of itself arrives.
    while (echo.sockets.length < 2) await new Promise((resolve) => setImmediate(resolve));
    (echo.sockets[1] as Socket).write('from the broker');
    expect((await other.read(15)).toString()).toBe('from the broker');
    expect(client.received.toString()).toBe('ping');
    expect((echo.sockets[0] as Socket).readableEnded).toBe(false);
    expect(proxy.bytes('toBroker')).toBe(4);
  });

  it('stall fills the sender up, and loses nothing when it ends', async () => {
    const client = open();
    await ping(client);
    proxy.set('toBroker', { kind: 'stall' });
    const sent = Buffer.alloc(32 << 20, 'x');
    client.socket.write(sent);
    // 32 MiB do not fit into the buffers between: the sender is left with most of it.
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(client.socket.writableLength).toBeGreaterThan(0);
    expect(proxy.bytes('toBroker')).toBe(4);
    proxy.clear();
    await client.read(4 + sent.length);
    expect(client.received.length).toBe(4 + sent.length);
  });

  it('delay makes every piece later and keeps the order', async () => {
    const client = open();
    await ping(client);
    proxy.set('toClient', { kind: 'delay', ms: 150 });
    const start = performance.now();
    client.socket.write('a');
    await proxy.after(1, 'toBroker');
    client.socket.write('b');
    expect((await client.read(6)).toString()).toBe('pingab');
    expect(elapsed(start)).toBeGreaterThan(140);
    proxy.clear();
    await ping(client, 'c');
    expect(client.received.toString()).toBe('pingabc');
  });

  it('throttle bounds the bytes per second', async () => {
    const client = open();
    await ping(client);
    proxy.set('toBroker', { kind: 'throttle', bytesPerSecond: 100_000 });
    const start = performance.now();
    client.socket.write(Buffer.alloc(30_000, 'x'));
    await client.read(4 + 30_000);
    expect(elapsed(start)).toBeGreaterThan(250);
    expect(elapsed(start)).toBeLessThan(5_000);
  });

  it('cuts after a number of bytes, exactly', async () => {
    const client = open();
    await ping(client);
    proxy.trigger('toClient', { kind: 'cut', after: 3 });
    client.socket.write('abcdef');
    await client.closed();
    expect(client.received.toString()).toBe('pingabc');
    expect(client.error).toBeUndefined();
  });

  it('resets after a number of bytes that span several writes', async () => {
    const client = open();
    await ping(client);
    proxy.trigger('toBroker', { kind: 'reset', after: 10 });
    await ping(client, '12345');
    client.socket.write('67890abc');
    await client.closed();
    expect(client.error?.code).toBe('ECONNRESET');
    expect(proxy.bytes('toBroker')).toBe(14);
  });

  it('corrupts one byte, once', async () => {
    const client = open();
    proxy.trigger('toBroker', { kind: 'corrupt', after: 6, mask: 0x20 });
    await ping(client, 'abcd');
    await ping(client, 'efgh');
    await ping(client, 'efgh');
    expect(client.received.toString()).toBe('abcdefGhefgh');
  });

  it('refuses new connections on its own port, keeps the old ones, and accepts again', async () => {
    const old = open();
    await ping(old);
    proxy.refuse();
    const refused = open();
    await refused.closed();
    expect(refused.error?.code).toBe('ECONNREFUSED');
    await ping(old);
    await proxy.accept();
    await ping(open());
    expect(proxy.accepted).toBe(2);
  });

  it('resets the client when the broker cannot be reached', async () => {
    const unreachable = await startFaultProxy({ host: '127.0.0.1', port: 1 });
    const client = new Client(unreachable.port);
    clients.push(client);
    await client.closed();
    expect(client.error?.code).toBe('ECONNRESET');
    await unreachable.close();
  });

  it('tells when bytes have passed', async () => {
    const client = open();
    const passed = proxy.after(8, 'toClient');
    await ping(client, '12345678');
    await passed;
    expect(proxy.bytes('toClient')).toBe(8);
  });

  it('rewrites a URL and nothing else in it', () => {
    expect(through(proxy, 'amqp://user:p%40ss@example.org:5671//?heartbeat=5')).toBe(
      `amqp://user:p%40ss@127.0.0.1:${proxy.port}//?heartbeat=5`,
    );
  });

  it('leaves nothing behind when closed', async () => {
    const client = open();
    await ping(client);
    proxy.set('both', { kind: 'delay', ms: 60_000 });
    client.socket.write('never arrives');
    await proxy.close();
    await client.closed();
    expect(proxy.open).toBe(0);
    const late = open();
    await late.closed();
    expect(late.error?.code).toBe('ECONNREFUSED');
  });
});
