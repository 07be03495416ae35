/**
 * Private RabbitMQ servers. Each has its own folder, node name, ports, cookie and epmd (Erlang's directory of nodes), so that it
 * neither sees nor disturbs another one, and all of them listen on the loopback interface only.
 */
import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker, Server } from './broker.ts';
import { findCommand, findProcesses, freePorts, isFree, isListening, signal, waitUntil } from './processes.ts';
import { stateFolder } from './state.ts';

export const rabbitmq: Broker = {
  name: 'rabbitmq',
  title: 'RabbitMQ',
  debianPackage: 'rabbitmq-server',
  isInstalled: () => findCommand('rabbitmq-server', scripts) !== undefined,
  open: (folder) => RabbitmqServer.open(folder),
};

/**
 * Starts a RabbitMQ of the test's own, empty, beside the one all tests share: for tests that kill, stop or pause the broker, or
 * need it configured otherwise. The test stops it; `scripts/brokers down` stops those that a test left behind.
 *
 * @param options.name Distinguishes the servers of one checkout that run at the same time.
 * @param options.config Further lines of rabbitmq.conf.
 * @param options.tls Files (PEM) to serve TLS with, at `tlsPort`.
 */
export async function startRabbitmq(options: {
  name: string;
  config?: string | undefined;
  tls?: TlsFiles | undefined;
}): Promise<RabbitmqServer> {
  if (!/^[a-z0-9-]+$/.test(options.name)) throw new TypeError(`not a name for a server: '${options.name}'`);
  const folder = join(stateFolder, `rabbitmq-${options.name}`);
  const server = await RabbitmqServer.open(folder, options);
  await server.kill();
  await server.start({ fresh: true });
  return server;
}

/** Paths of a server's certificate and key (PEM). */
interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
}

/** What makes a server a node of a cluster: see `rabbitmq-cluster.ts`. */
export interface Membership {
  /** The secret that the nodes know each other by. */
  readonly cookie: string;
  /** The port of its directory of nodes, which somebody else runs: the server starts no epmd. */
  readonly epmd: number;
  /** Further options of its Erlang machine. */
  readonly erlangOptions: string;
}

/** How a server is set up. */
export interface RabbitmqOptions {
  readonly config?: string | undefined;
  readonly tls?: TlsFiles | undefined;
  readonly membership?: Membership | undefined;
}

/** The ports of a server, all on 127.0.0.1. */
interface Ports {
  readonly amqp: number;
  readonly tls: number;
  readonly management: number;
  readonly distribution: number;
  readonly epmd: number;
}

const host = '127.0.0.1';
/** Debian's own commands change the user and the folder first; the scripts they wrap do what they are told. */
const scripts = '/usr/lib/rabbitmq/bin';
const second = 1000;

/** One private server. It keeps its name and ports, and what it holds, when it is stopped or killed and started again. */
export class RabbitmqServer implements Server {
  readonly folder: string;
  /** The Erlang node, for `rabbitmqctl -n`. */
  readonly node: string;
  readonly #config: string;
  readonly #tls: TlsFiles | undefined;
  readonly #membership: Membership | undefined;
  #ports: Ports;

  private constructor(folder: string, ports: Ports, { config = '', tls, membership }: RabbitmqOptions) {
    this.folder = folder;
    this.node = `wakame-${createHash('sha256').update(folder).digest('hex').slice(0, 8)}@localhost`;
    this.#config = config;
    this.#ports = ports;
    this.#tls = tls;
    this.#membership = membership;
  }

  static async open(folder: string, options: RabbitmqOptions = {}): Promise<RabbitmqServer> {
    const file = portsFile(folder);
    const known = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Partial<Ports>) : {};
    const ports = known.tls === undefined ? await choosePorts(folder) : (known as Ports);
    return new RabbitmqServer(folder, ports, options);
  }

  /** `amqp://guest:guest@127.0.0.1:<port>//`, the vhost `/` as Kombu writes it. */
  get url(): string {
    return `amqp://guest:guest@${host}:${this.#ports.amqp}//`;
  }

  /** The root of the management plug-in's HTTP API, with credentials. */
  get managementUrl(): string {
    return `http://guest:guest@${host}:${this.#ports.management}`;
  }

  get host(): string {
    return host;
  }

  get port(): number {
    return this.#ports.amqp;
  }

  /** Where it speaks TLS, if it was given the files. */
  get tlsPort(): number {
    return this.#ports.tls;
  }

  get variables(): Readonly<Record<string, string>> {
    return { WAKAME_TEST_RABBITMQ_URL: this.url, WAKAME_TEST_RABBITMQ_MANAGEMENT_URL: this.managementUrl };
  }

  async isRunning(): Promise<boolean> {
    return this.#servers().length > 0 && (await isListening(this.#ports.amqp));
  }

  async start(options: { fresh?: boolean | undefined } = {}): Promise<void> {
    if (!(await this.isRunning())) {
      // What a start that was cut short left behind.
      await this.kill();
      if (options.fresh) rmSync(this.folder, { recursive: true, force: true });
      await this.#prepare();
      await this.#launch();
    }
    await this.#awaitStartup();
  }

  /** Ends the server in an orderly way, by force when that takes more than 20 seconds. */
  async stop(): Promise<void> {
    // A server that still boots does not listen to signals, either.
    if (!(await isListening(this.#ports.amqp))) await this.kill();
    else await this.#end(['SIGTERM', 'SIGCONT']).catch(() => this.kill());
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
    this.#signal('SIGSTOP');
  }

  resume(): void {
    this.#signal('SIGCONT');
  }

  /**
   * Runs rabbitmqctl on this server.
   *
   * @returns What it wrote to standard output.
   */
  ctl(...args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      execFile(
        command('rabbitmqctl'),
        ['-n', this.node, ...args],
        { env: this.#environment(), timeout: 120 * second },
        (error, stdout, stderr) => {
          if (error)
            reject(new Error(`rabbitmqctl ${args.join(' ')}: ${stderr.trim() || error.message}`, { cause: error }));
          else resolve(stdout);
        },
      );
    });
  }

  async #prepare(): Promise<void> {
    if (!(await Promise.all(Object.values(this.#ports).map(isFree))).every(Boolean)) {
      this.#ports = await choosePorts(this.folder);
    }
    mkdirSync(join(this.folder, 'log'), { recursive: true });
    const cookie = join(this.folder, '.erlang.cookie');
    if (this.#membership !== undefined && !existsSync(cookie)) {
      writeFileSync(cookie, this.#membership.cookie, { mode: 0o400 });
    }
    writeFileSync(portsFile(this.folder), JSON.stringify(this.#ports));
    writeFileSync(join(this.folder, 'enabled_plugins'), '[rabbitmq_management].\n');
    // Instead of the machine's own in /etc/rabbitmq.
    writeFileSync(join(this.folder, 'rabbitmq-env.conf'), '');
    writeFileSync(
      join(this.folder, 'rabbitmq.conf'),
      [
        `management.tcp.ip = ${host}`,
        `management.tcp.port = ${this.#ports.management}`,
        ...this.#tlsConfig(),
        this.#config,
        '',
      ].join('\n'),
    );
  }

  #tlsConfig(): string[] {
    if (this.#tls === undefined) return [];
    return [
      `listeners.ssl.default = ${host}:${this.#ports.tls}`,
      `ssl_options.certfile = ${this.#tls.certificate}`,
      `ssl_options.keyfile = ${this.#tls.key}`,
      'ssl_options.verify = verify_none',
    ];
  }

  async #launch(): Promise<void> {
    const { amqp } = this.#ports;
    const log = join(this.folder, 'log', 'console.log');
    const output = openSync(log, 'w');
    const options = {
      detached: true,
      stdio: ['ignore', output, output] as ['ignore', number, number],
      cwd: this.folder,
      env: this.#environment(),
    };
    const children = [spawn(command('rabbitmq-server'), [], options)];
    if (this.#membership === undefined) {
      // Without one of its own the server would start an epmd as a daemon, which stays when the server ends.
      children.unshift(spawn('epmd', ['-address', host, '-port', String(this.#epmdPort)], options));
    }
    closeSync(output);
    let failure: string | undefined;
    for (const child of children) {
      child.once('error', (error) => {
        failure = error.message;
      });
      child.once('exit', (code, by) => {
        failure ??= `${child.spawnfile} ended with ${by ?? `exit code ${code}`}`;
      });
      child.unref();
    }
    try {
      await waitUntil(`RabbitMQ listening on port ${amqp}`, 180 * second, async () => {
        if (failure !== undefined) throw new Error(failure);
        return isListening(amqp);
      });
    } catch (error) {
      await this.kill();
      throw new Error(`RabbitMQ did not start: ${(error as Error).message}\n${complaints(log)}`, { cause: error });
    }
  }

  /** `await_startup` waits for the boot to end, but fails at once as long as the node is not yet registered. */
  async #awaitStartup(): Promise<void> {
    const deadline = performance.now() + 180 * second;
    for (;;) {
      try {
        await this.ctl('await_startup');
        return;
      } catch (error) {
        if (performance.now() > deadline || this.#servers().length === 0) throw error;
        await sleep(200);
      }
    }
  }

  /** Ends the server and then its epmd. (SIGCONT after SIGTERM: one that is paused must go on to notice.) */
  async #end(signals: NodeJS.Signals[]): Promise<void> {
    const { amqp } = this.#ports;
    if (this.#servers().length > 0) {
      for (const name of signals) this.#signal(name);
      await waitUntil('RabbitMQ ending', 20 * second, () => this.#servers().length === 0);
      await waitUntil(`port ${amqp} closing`, 10 * second, async () => !(await isListening(amqp)));
    }
    for (const pid of this.#epmds()) signal(pid, 'SIGTERM');
    await waitUntil('epmd ending', 10 * second, () => this.#epmds().length === 0);
  }

  #signal(name: NodeJS.Signals): void {
    for (const pid of this.#servers()) signal(pid, name);
  }

  /** The Erlang machine that runs the broker; one that runs rabbitmqctl has the same home, but does not boot `rabbit`. */
  #servers(): number[] {
    return findProcesses((line) => line.includes(` -home ${this.folder} `) && line.includes(' -s rabbit boot '));
  }

  get #epmdPort(): number {
    return this.#membership?.epmd ?? this.#ports.epmd;
  }

  /** Its own. */
  #epmds(): number[] {
    if (this.#membership !== undefined) return [];
    return findProcesses((line) => line.startsWith('epmd ') && line.includes(` -port ${this.#epmdPort} `));
  }

  #environment(): NodeJS.ProcessEnv {
    const loopback = '-kernel inet_dist_use_interface {127,0,0,1}';
    const { amqp, distribution } = this.#ports;
    return {
      ...withoutSettings(process.env),
      // Where Erlang keeps the cookie, the secret that nodes and rabbitmqctl know each other by.
      HOME: this.folder,
      ERL_CRASH_DUMP_SECONDS: '0',
      ERL_EPMD_ADDRESS: host,
      ERL_EPMD_PORT: String(this.#epmdPort),
      RABBITMQ_NODENAME: this.node,
      RABBITMQ_NODE_IP_ADDRESS: host,
      RABBITMQ_NODE_PORT: String(amqp),
      RABBITMQ_DIST_PORT: String(distribution),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: [loopback, this.#membership?.erlangOptions ?? ''].join(' '),
      RABBITMQ_CTL_ERL_ARGS: loopback,
      RABBITMQ_CONF_ENV_FILE: join(this.folder, 'rabbitmq-env.conf'),
      RABBITMQ_CONFIG_FILE: join(this.folder, 'rabbitmq.conf'),
      RABBITMQ_ADVANCED_CONFIG_FILE: join(this.folder, 'advanced.config'),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(this.folder, 'enabled_plugins'),
      RABBITMQ_MNESIA_BASE: join(this.folder, 'data'),
      RABBITMQ_LOG_BASE: join(this.folder, 'log'),
      RABBITMQ_PID_FILE: join(this.folder, 'pid'),
    };
  }
}

function portsFile(folder: string): string {
  return join(folder, 'ports.json');
}

async function choosePorts(folder: string): Promise<Ports> {
  const ports = (await freePorts(folder, 5)) as [number, number, number, number, number];
  const [amqp, management, distribution, epmd, tls] = ports;
  return { amqp, tls, management, distribution, epmd };
}

/** What a server that did not start has to say: the beginning of what it calls errors, else the end of its log. */
function complaints(log: string): string {
  const lines = readFileSync(log, 'utf8').split('\n');
  const errors = lines.filter((line) => line.includes('[error]')).slice(0, 10);
  return [...(errors.length > 0 ? errors : lines.slice(-10)), `(${log})`].join('\n');
}

/** What somebody set for a RabbitMQ or an Erlang of theirs must not reach ours. */
function withoutSettings(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !/^(RABBITMQ|ERL)_/.test(name)));
}

function command(name: string): string {
  return findCommand(name, scripts) ?? name;
}
