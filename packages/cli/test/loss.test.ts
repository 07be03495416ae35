/** move and bridge lose nothing: whenever they are killed, and whichever broker goes away. */
import { DatabaseSync } from 'node:sqlite';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type FaultProxy, startFaultProxy, through } from '../../../scripts/lib/network/fault-proxy.ts';
import { BROKERS, type BrokerName, bench, range, urlOf } from './support/command.js';

const scale = Number(process.env.WAKAME_TEST_SCALE ?? 1);

// Processes need their time to start on a machine that has much else to do.
vi.setConfig({ testTimeout: 120_000 * Math.max(1, scale / 5) });

/** Instants at which each command is killed on each broker, at scale 1; at scale 50, all there are. */
const INSTANTS = 5 * scale;
const COUNT = 30;

/** A store gives back what a process had when its lease is over; on Redis whoever lives sweeps, in a database where nobody else waits longer. */
function impatient(broker: BrokerName): string {
  if (broker === 'rabbitmq') return urlOf(broker);
  const url = broker === 'redis' ? new URL('/8', urlOf(broker)).href : urlOf(broker);
  return `${url}?lease=1`;
}

describe.each(BROKERS)('killed on %s', (broker) => {
  const url = impatient(broker);
  const { wakame, succeed, startKilledAt, queue, fill, numbers, depth } = bench('cli-kill', broker, url);

  it.each([
    ['move', (from: string, to: string) => ['move', from, to]],
    [
      'bridge',
      (from: string, to: string) => [
        'bridge',
        url,
        from,
        url,
        '',
        '--to-key',
        to,
        '--count',
        String(COUNT),
        '--prefetch',
        '5',
      ],
    ],
  ])('at any instant, %s loses nothing', async (_, command) => {
    /** Lets the command be killed, and gives what it wrote to standard error, with the queues. */
    const run = async (deed: number) => {
      const [from, to] = [await queue(), await queue()];
      await fill(from, COUNT);
      const { signal, stderr } = await startKilledAt(deed, ...command(from, to)).ended;
      return { from, to, signal, stderr };
    };
    const whole = await run(0);
    expect(await numbers(whole.to)).toEqual(range(COUNT));
    const deeds = Number(/deeds: (\d+)/.exec(whole.stderr)?.[1]);
    expect(deeds).toBeGreaterThan(10);

    const instants = Math.min(INSTANTS, deeds);
    const left = range(instants).map((n) => 1 + Math.floor(((n + 0.5) * deeds) / instants));
    const ends: Awaited<ReturnType<typeof run>>[] = [];
    const worker = async () => {
      for (let deed = left.shift(); deed !== undefined; deed = left.shift()) ends.push(await run(deed));
    };
    await Promise.all([worker(), worker()]);
    // One that waits more seldom for messages than the first has fewer deeds: it may come to its end.
    expect(ends.filter(({ signal }) => signal === 'SIGKILL').length).toBeGreaterThan(instants / 2);

    const halfway: boolean[] = [];
    for (const { from, to } of ends) {
      const arrived = await depth(to);
      halfway.push(arrived > 0 && (await depth(from)) < COUNT);
      // What the process had comes back, sooner or later; what waits is taken to where the rest is.
      const all = async () => {
        await succeed('move', from, to);
        return new Set(await numbers(to)).size;
      };
      await expect.poll(all, { timeout: 30_000, interval: 100 }).toBe(COUNT);
      // Not even in the hands of the dead: each is where it can be had.
      await expect.poll(() => wakame(['get', from]), { timeout: 30_000, interval: 100 }).toMatchObject({ code: 3 });
    }
    expect(halfway).toContain(true);
  });
});

/** A broker that can be away for a while: behind a proxy; or a file that somebody else has locked. */
class Outage {
  readonly url: string;
  readonly #proxy: FaultProxy | undefined;
  readonly #file: string | undefined;
  #lock: DatabaseSync | undefined;

  private constructor(url: string, proxy: FaultProxy | undefined, file: string | undefined) {
    this.url = url;
    this.#proxy = proxy;
    this.#file = file;
  }

  static async of(broker: BrokerName, url: string): Promise<Outage> {
    // A connection is given up when the file has been locked for so long.
    if (broker === 'sqlite') return new Outage(`${url}?read_timeout=0.2`, undefined, url.replace('sqlite:', ''));
    const { hostname, port } = new URL(url);
    const proxy = await startFaultProxy({ host: hostname, port: Number(port) });
    return new Outage(through(proxy, url), proxy, undefined);
  }

  /** Resets what stands, and refuses what comes. */
  async begin(): Promise<void> {
    if (this.#file !== undefined) {
      this.#lock = new DatabaseSync(this.#file, { timeout: 5_000 });
      this.#lock.exec('BEGIN IMMEDIATE');
    }
    this.#proxy?.refuse();
    await this.#proxy?.reset();
  }

  async end(): Promise<void> {
    this.#lock?.close();
    this.#lock = undefined;
    await this.#proxy?.accept();
  }

  async close(): Promise<void> {
    this.#lock?.close();
    await this.#proxy?.close();
  }
}

describe.each([
  ['rabbitmq', 'redis'],
  ['redis', 'sqlite'],
  ['sqlite', 'rabbitmq'],
] as const)('a bridge from %s to %s', (source, sink) => {
  const from = bench('cli-outage-from', source);
  const to = bench('cli-outage-to', sink);

  it('waits while either of them is away, and loses nothing', async () => {
    const [here, there] = [await from.queue(), await to.queue()];
    const [left, right] = await Promise.all([Outage.of(source, from.url), Outage.of(sink, to.url)]);
    onTestFinished(async () => void (await Promise.all([left.close(), right.close()])));
    const running = from.start('bridge', left.url, here, right.url, '', '--to-key', there);
    const troubles = (text: string) => running.stderr.split(text).length - 1;
    let sent = 0;
    const send = async () => {
      await from.fill(here, 100, sent);
      sent += 100;
    };
    const arrived = () => to.depth(there);
    await send();
    await running.until(({ stderr }) => stderr.includes('passing on'));
    for (const outage of [right, left]) {
      await expect.poll(arrived, { timeout: 30_000 }).toBeGreaterThan(0);
      const before = troubles('connection lost');
      await outage.begin();
      if (source !== 'sqlite' || outage !== left) await send();
      await running.until(() => troubles('connection lost') > before);
      await outage.end();
      await running.until(() => troubles('connected again') > before);
      await send();
    }
    const passed = async () => new Set(await to.numbers(there)).size;
    await expect.poll(passed, { timeout: 30_000, interval: 200 }).toBe(sent);
    expect(await from.depth(here)).toBe(0);
    running.process.kill('SIGINT');
    expect(await running.ended).toMatchObject({
      code: 130,
      stdout: expect.stringMatching(/^passed on \d+ messages\n$/),
    });
  });
});
