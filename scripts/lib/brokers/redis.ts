/**
 * Private Redis servers. Each has its own folder and ports and listens on the loopback interface only: plain, with TLS, and on a Unix
 * socket. What it holds is in an append-only file, so that it is there again after a kill.
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../../setup.mjs';
import type { Broker, Server } from './broker.ts';
import { findCommand, findProcesses, freePorts, isFree, isListening, signal, waitUntil } from './processes.ts';
import { stateFolder } from './state.ts';

export const redis: Broker = {
  name: 'redis',
  title: 'Redis',
  debianPackage: 'redis-server',
  isInstalled: () => findCommand('redis-server') !== undefined,
  open: (folder) => RedisServer.open(folder),
};

/**
 * Starts a Redis of the test's own, empty, beside the one all tests share: for tests that kill, stop or pause the server, or need it
 * configured otherwise. The test stops it; `scripts/brokers down` stops those that a test left behind.
 *
 * @param options.name Distinguishes the servers of one checkout that run at the same time.
 * @param options.config Further lines of redis.conf.
 */
export async function startRedis(options: { name: string; config?: string | undefined }): Promise<RedisServer> {
  if (!/^[a-z0-9-]+$/.test(options.name)) throw new TypeError(`not a name for a server: '${options.name}'`);
  const server = await RedisServer.open(join(stateFolder, `redis-${options.name}`), options.config);
  await server.kill();
  await server.start({ fresh: true });
  return server;
}

const host = '127.0.0.1';
const second = 1000;
/** A certificate that signs itself, for localhost and 127.0.0.1. */
const tls = join(root, 'scripts', 'lib', 'network', 'tls');
const certificate = join(tls, 'server.crt');

/** The ports of a server, all on 127.0.0.1. */
interface Ports {
  readonly plain: number;
  readonly tls: number;
}

/** One private server. It keeps its ports, and what it holds, when it is stopped or killed and started again. */
export class RedisServer implements Server {
  readonly folder: string;
  readonly #config: string;
  readonly #sentinel: boolean;
  #ports: Ports;

  private constructor(folder: string, config: string, sentinel: boolean, ports: Ports) {
    this.folder = folder;
    this.#config = config;
    this.#sentinel = sentinel;
    this.#ports = ports;
  }

  /**
   * @param config Further lines of redis.conf.
   * @param sentinel It is no store but watches some.
   */
  static async open(folder: string, config = '', sentinel = false): Promise<RedisServer> {
    const file = portsFile(folder);
    const ports = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Ports) : await choosePorts(folder);
    return new RedisServer(folder, config, sentinel, ports);
  }

  get host(): string {
    return host;
  }

  get port(): number {
    return this.#ports.plain;
  }

  get url(): string {
    return `redis://${host}:${this.#ports.plain}/0`;
  }

  /** With the certificate to trust in its query. */
  get tlsUrl(): string {
    return `rediss://${host}:${this.#ports.tls}/0?ssl_ca_certs=${encodeURIComponent(certificate)}`;
  }

  /** The path of the Unix socket. */
  get socket(): string {
    const path = join(this.folder, 'redis.sock');
    // The system's limit on such a path is 107 bytes.
    if (Buffer.byteLength(path) <= 100) return path;
    return join(tmpdir(), `wakame-${createHash('sha256').update(this.folder).digest('hex').slice(0, 16)}.sock`);
  }

  get variables(): Readonly<Record<string, string>> {
    return {
      WAKAME_TEST_REDIS_URL: this.url,
      WAKAME_TEST_REDIS_TLS_URL: this.tlsUrl,
      WAKAME_TEST_REDIS_SOCKET: this.socket,
    };
  }

  async isRunning(): Promise<boolean> {
    return this.#servers().length > 0 && (await isListening(this.#ports.plain));
  }

  async start(options: { fresh?: boolean | undefined } = {}): Promise<void> {
    if (await this.isRunning()) return;
    // What a start that was cut short left behind.
    await this.kill();
    if (options.fresh) rmSync(this.folder, { recursive: true, force: true });
    await this.#prepare();
    await this.#launch();
  }

  /** Ends the server in an orderly way, by force when that takes more than 20 seconds. */
  async stop(): Promise<void> {
    // One that is paused must go on to notice.
    await this.#end(['SIGTERM', 'SIGCONT']).catch(() => this.kill());
  }

  /** As a power cut: nothing is said to the clients and nothing is written any more. */
  async kill(): Promise<void> {
    await this.#end(['SIGKILL']);
  }

  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** The server stops to read, write and answer, while its connections stay. */
  pause(): void {
    for (const pid of this.#servers()) signal(pid, 'SIGSTOP');
  }

  resume(): void {
    for (const pid of this.#servers()) signal(pid, 'SIGCONT');
  }

  /**
   * Runs redis-cli on this server.
   *
   * @returns What it wrote to standard output, without the last line's end.
   */
  cli(...args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      execFile(
        'redis-cli',
        ['-h', host, '-p', String(this.port), ...args],
        { timeout: 20 * second },
        (error, stdout, stderr) => {
          if (error) reject(new Error(`redis-cli ${args.join(' ')}: ${stderr.trim() || error.message}`));
          else resolve(stdout.trimEnd());
        },
      );
    });
  }

  async #prepare(): Promise<void> {
    if (!(await Promise.all(Object.values(this.#ports).map(isFree))).every(Boolean)) {
      this.#ports = await choosePorts(this.folder);
      rmSync(this.#file, { force: true });
    }
    mkdirSync(this.folder, { recursive: true });
    writeFileSync(portsFile(this.folder), JSON.stringify(this.#ports));
    // Servers and sentinels write into theirs who follows whom: that must stay.
    if (!existsSync(this.#file)) writeFileSync(this.#file, this.#configuration());
  }

  get #file(): string {
    return join(this.folder, 'redis.conf');
  }

  #configuration(): string {
    const common = [
      `bind ${host}`,
      `port ${this.#ports.plain}`,
      `dir ${this.folder}`,
      // The command line stays as it is: servers are found by it.
      'set-proc-title no',
    ];
    const store = [
      `tls-port ${this.#ports.tls}`,
      `tls-cert-file ${certificate}`,
      `tls-key-file ${join(tls, 'server.key')}`,
      `tls-ca-cert-file ${certificate}`,
      'tls-auth-clients no',
      `unixsocket ${this.socket}`,
      'unixsocketperm 700',
      'appendonly yes',
      'save ""',
    ];
    return [...common, ...(this.#sentinel ? [] : store), this.#config, ''].join('\n');
  }

  async #launch(): Promise<void> {
    const log = join(this.folder, 'console.log');
    const output = openSync(log, 'w');
    const args = [this.#file, ...(this.#sentinel ? ['--sentinel'] : [])];
    const server = spawn('redis-server', args, { detached: true, stdio: ['ignore', output, output], cwd: this.folder });
    closeSync(output);
    let failure: string | undefined;
    server.once('error', (error) => {
      failure = error.message;
    });
    server.once('exit', (code, by) => {
      failure ??= `redis-server ended with ${by ?? `exit code ${code}`}`;
    });
    server.unref();
    try {
      // Until its append-only file is read it answers LOADING.
      await waitUntil(`Redis answering on port ${this.port}`, 60 * second, async () => {
        if (failure !== undefined) throw new Error(failure);
        return (await isListening(this.port)) && (await this.cli('ping').catch(() => '')) === 'PONG';
      });
    } catch (error) {
      await this.kill();
      const tail = readFileSync(log, 'utf8').trim().split('\n').slice(-10).join('\n');
      throw new Error(`Redis did not start: ${(error as Error).message}\n${tail}\n(${log})`, { cause: error });
    }
  }

  async #end(signals: NodeJS.Signals[]): Promise<void> {
    if (this.#servers().length === 0) return;
    for (const name of signals) for (const pid of this.#servers()) signal(pid, name);
    await waitUntil('Redis ending', 20 * second, () => this.#servers().length === 0);
    await waitUntil(`port ${this.port} closing`, 10 * second, async () => !(await isListening(this.port)));
    rmSync(this.socket, { force: true });
  }

  #servers(): number[] {
    return findProcesses((line) => line.includes('redis-server ') && line.includes(` ${this.#file} `));
  }
}

/** The name under which the sentinels of {@link startRedisSentinels} know their master. */
const MASTER = 'wakame';
const QUORUM = 2;

/**
 * Starts a master with a replica, and three sentinels that watch them and put the replica in the place of a master that does not answer
 * for a second. The test stops them.
 */
export async function startRedisSentinels(options: { name: string }): Promise<RedisSentinels> {
  const config = 'repl-diskless-sync-delay 0\nrepl-diskless-load swapdb\nreplica-priority 1';
  const master = await startRedis({ name: `${options.name}-a`, config });
  const replica = await startRedis({
    name: `${options.name}-b`,
    config: `${config}\nreplicaof ${host} ${master.port}`,
  });
  const watching = [
    `sentinel monitor ${MASTER} ${host} ${master.port} ${QUORUM}`,
    `sentinel down-after-milliseconds ${MASTER} 1000`,
    `sentinel failover-timeout ${MASTER} 5000`,
  ].join('\n');
  const sentinels: RedisServer[] = [];
  for (const number of [1, 2, 3]) {
    const folder = join(stateFolder, `redis-${options.name}-sentinel-${number}`);
    const sentinel = await RedisServer.open(folder, watching, true);
    await sentinel.kill();
    await sentinel.start({ fresh: true });
    sentinels.push(sentinel);
  }
  const group = new RedisSentinels([master, replica], sentinels);
  await group.settled();
  return group;
}

/** A master and a replica under the watch of sentinels. */
export class RedisSentinels {
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  readonly masterName = MASTER;

  constructor(servers: readonly RedisServer[], sentinels: readonly RedisServer[]) {
    this.servers = servers;
    this.sentinels = sentinels;
  }

  /** `sentinel://127.0.0.1:…/0;sentinel://127.0.0.1:…/0;…`, without the option `master_name`. */
  get url(): string {
    return this.sentinels.map(({ port }) => `sentinel://${host}:${port}/0`).join(';');
  }

  /** The server that the sentinels hold for the master now. */
  async master(): Promise<RedisServer> {
    const [sentinel] = this.sentinels as [RedisServer];
    const [, port] = (await sentinel.cli('sentinel', 'get-master-addr-by-name', MASTER)).split('\n');
    const master = this.servers.find((server) => server.port === Number(port));
    if (master === undefined) throw new Error(`the sentinels know no master among the servers: port ${port}`);
    return master;
  }

  /** Resolves when every sentinel knows the others and the replica, and the replica is in step: a failover would succeed. */
  async settled(): Promise<void> {
    await waitUntil('sentinels agreeing', 30 * second, async () => {
      const answers = await Promise.all(
        this.sentinels.map((sentinel) => sentinel.cli('sentinel', 'master', MASTER).then(fields)),
      );
      const known = answers.every((answer) => {
        const { 'num-other-sentinels': others, 'num-slaves': replicas, flags } = answer;
        return others === '2' && replicas === '1' && flags === 'master';
      });
      return known && /slave0:.*state=online/.test(await (await this.master()).cli('info', 'replication'));
    });
  }

  /** Tells the sentinels to exchange master and replica, and resolves when every one of them knows of it. */
  async failover(): Promise<RedisServer> {
    const former = await this.master();
    const [sentinel] = this.sentinels as [RedisServer];
    await sentinel.cli('sentinel', 'failover', MASTER);
    return this.promoted(former);
  }

  /** Resolves with the new master when all sentinels have another one than `former`. */
  async promoted(former: RedisServer): Promise<RedisServer> {
    await waitUntil('another master', 30 * second, async () => {
      const answers = await Promise.all(
        this.sentinels.map((one) => one.cli('sentinel', 'get-master-addr-by-name', MASTER)),
      );
      return answers.every((answer) => Number(answer.split('\n')[1]) !== former.port);
    });
    return this.master();
  }

  async stop(): Promise<void> {
    await Promise.all(this.sentinels.map((sentinel) => sentinel.stop()));
    await Promise.all(this.servers.map((server) => server.stop()));
  }
}

/** An answer of names and values in turn. */
function fields(answer: string): Record<string, string> {
  const lines = answer.split('\n');
  const pairs = lines.flatMap((name, i) => (i % 2 === 0 ? [[name, lines[i + 1] ?? ''] as const] : []));
  return Object.fromEntries(pairs);
}

function portsFile(folder: string): string {
  return join(folder, 'ports.json');
}

async function choosePorts(folder: string): Promise<Ports> {
  const [plain, tlsPort] = (await freePorts(folder, 2)) as [number, number];
  return { plain, tls: tlsPort };
}
