/**
 * A directory of Erlang nodes, as epmd is one (Erlang's "Distribution Protocol", section "EPMD Protocol"): a node registers its name and
 * port, and asks for the ports of others. This one serves a single server (and its tools, which are nodes, too, while they run), and its
 * answers may lead through proxies:
 *
 * ```
 *  node A ── "where is B?" ──▶ directory of A        node A ── proxy ──▶ node B
 *         ◀── port of a proxy ──
 * ```
 *
 * Every message is preceded by its length in two bytes, answers are not.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

const ALIVE2_REQ = 120;
const ALIVE2_X_RESP = 118;
const PORT_PLEASE2_REQ = 122;
const PORT2_RESP = 119;
const NAMES_REQ = 110;
/** No request is longer: names have at most 255 characters. */
const LONGEST = 1024;

export class NodeDirectory {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #route: (name: string) => number | undefined;
  /** The ports of those that have registered, by name without host, as long as they live: a registration ends with its connection. */
  readonly #nodes = new Map<string, { readonly port: number }>();
  #creation = 0;

  private constructor(server: Server, route: (name: string) => number | undefined) {
    this.#server = server;
    this.#route = route;
    this.port = (server.address() as AddressInfo).port;
    server.on('connection', (socket) => this.#serve(socket));
  }

  /** @param route Where other nodes are found: their port, or that of a proxy to them. */
  static async start(port: number, route: (name: string) => number | undefined): Promise<NodeDirectory> {
    const server = createServer();
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    return new NodeDirectory(server, route);
  }

  /** The port of a node that has registered here, by its name without the host. */
  portOf(name: string): number | undefined {
    return this.#nodes.get(name)?.port;
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => {}); // 'close' follows.
    let bytes: Buffer = Buffer.alloc(0);
    socket.on('data', (data) => {
      bytes = Buffer.concat([bytes, data]);
      if (bytes.length > LONGEST) socket.destroy();
      const length = bytes.length < 2 ? Number.POSITIVE_INFINITY : bytes.readUInt16BE();
      if (bytes.length < 2 + length) return;
      const request = bytes.subarray(2, 2 + length);
      bytes = bytes.subarray(2 + length);
      this.#answer(socket, request);
    });
  }

  #answer(socket: Socket, request: Buffer): void {
    switch (request[0]) {
      case ALIVE2_REQ:
        return this.#register(socket, request);
      case PORT_PLEASE2_REQ:
        socket.end(this.#find(request.toString('latin1', 1)));
        return;
      case NAMES_REQ: {
        const own = Buffer.alloc(4);
        own.writeUInt32BE(this.port);
        const lines = [...this.#nodes].map(([name, { port }]) => `name ${name} at port ${port}\n`);
        socket.end(Buffer.concat([own, Buffer.from(lines.join(''))]));
        return;
      }
      default:
        socket.destroy();
    }
  }

  /** Port (2), type, protocol, highest and lowest version (2 each), length of the name (2), name, … */
  #register(socket: Socket, request: Buffer): void {
    const node = { port: request.readUInt16BE(1) };
    const name = request.toString('latin1', 11, 11 + request.readUInt16BE(9));
    this.#nodes.set(name, node);
    socket.once('close', () => {
      if (this.#nodes.get(name) === node) this.#nodes.delete(name);
    });
    const response = Buffer.alloc(6);
    response.writeUInt8(ALIVE2_X_RESP, 0);
    this.#creation += 1;
    response.writeUInt32BE(this.#creation, 2);
    socket.write(response);
  }

  #find(name: string): Buffer {
    const port = this.portOf(name) ?? this.#route(name);
    if (port === undefined) return Buffer.from([PORT2_RESP, 1]);
    const head = Buffer.alloc(12);
    head.writeUInt8(PORT2_RESP, 0);
    head.writeUInt16BE(port, 2);
    head.writeUInt8(77, 4); // An ordinary node, over TCP (0), of versions 6 to 5 of the protocol.
    head.writeUInt16BE(6, 6);
    head.writeUInt16BE(5, 8);
    head.writeUInt16BE(name.length, 10);
    return Buffer.concat([head, Buffer.from(name, 'latin1'), Buffer.alloc(2)]);
  }
}
