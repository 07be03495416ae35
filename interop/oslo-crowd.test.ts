/** Many callers of both languages, and servers of both that are killed: every call has one end, and it is the right one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { MessagingTimeout, RpcClient, type Transport } from '@wakame/oslo';
import { afterAll, expect } from 'vitest';
import type { Column } from './support/columns.ts';
import { cell } from './support/matrix.ts';
import { newestOnly, openPeer, openTransport, osloOptions, osloUrl, unique, withEachOslo } from './support/oslo.ts';
import type { Peer } from './support/peer.ts';
import { runTypeScript } from './support/programs.ts';

withEachOslo('Crowds with oslo.messaging', define, newestOnly);

const scale = Number(process.env.WAKAME_TEST_SCALE ?? 1);
const CALLS = 500 * scale;
const NODE_CLIENTS = 8;
const PYTHON_CLIENTS = 2;
/** Calls of a client in a round. */
const EACH = CALLS / (NODE_CLIENTS + PYTHON_CLIENTS);
/** It goes on until so many servers were killed, one of each language; a machine may be slow to start them again. */
const KILLS = 2;
const MOST_ROUNDS = 6;
/** Calls of a client at one time. */
const LANES = 4;
/** What a call takes. */
const SECONDS = 0.2;
/** What it may take. */
const TIMEOUT = 5;
/** Milliseconds between a server's coming back and the next one's end. */
const REST = 800;

type End = 'own' | 'timeout' | string;

function* endlessly<T>(items: readonly T[]): Generator<T> {
  for (;;) yield* items;
}

/** A process with a server, which can be killed and started anew. */
interface Victim {
  start(): Promise<void>;
  kill(): Promise<unknown>;
}

function define(column: Column): void {
  const topic = unique('crowd');
  const transports: Transport[] = [];
  const pythons: Peer[] = [];
  const victims: Victim[] = [];
  afterAll(async () => {
    await Promise.all([...victims.map((victim) => victim.kill()), ...pythons.map((peer) => peer.kill())]);
    await Promise.all(transports.map((transport) => transport.close()));
  });

  const nodeServer = (server: string): Victim => {
    const program = fileURLToPath(new URL('support/oslo-server.ts', import.meta.url));
    let child: ChildProcess | undefined;
    return {
      async start() {
        const args = [...runTypeScript, program, osloUrl(osloOptions), topic, server];
        child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
        await once(child.stdout!, 'data');
      },
      async kill() {
        child?.kill('SIGKILL');
        if (child?.exitCode === null && child.signalCode === null) await once(child, 'exit');
      },
    };
  };
  const pythonServer = (server: string): Victim => {
    let peer: Peer | undefined;
    return {
      async start() {
        peer = await openPeer(column);
        await peer.call('serve', { topic, server });
      },
      kill: async () => peer?.kill(),
    };
  };

  /** The ends of a Node client's calls of a round. Each value is asked for once in all. */
  const callFromNode = async (transport: Transport, first: number): Promise<End[]> => {
    const client = new RpcClient(transport, { topic }, { timeout: TIMEOUT * 1000 });
    const ends: End[] = [];
    const numbers = Array.from({ length: EACH }, (_, i) => first + i).values();
    const lane = async () => {
      for (const value of numbers) {
        try {
          ends.push((await client.call('work', { value, seconds: SECONDS })) === value ? 'own' : 'wrong');
        } catch (error) {
          ends.push(error instanceof MessagingTimeout ? 'timeout' : String(error));
        }
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));
    expect(transport.replies.waiting).toBe(0);
    return ends;
  };
  const callFromPython = async (peer: Peer, first: number): Promise<End[]> => {
    const what = { topic, method: 'work', first, count: EACH, lanes: LANES, timeout: TIMEOUT };
    await peer.call('begin', { ...what, args: { seconds: SECONDS } });
    return peer.call<End[]>('ends');
  };

  cell(
    column,
    'both',
    'calls of 8 Node and 2 Python clients to servers of both that are killed: each gets its own answer or times out',
    async () => {
      victims.push(...['n1', 'n2'].map(nodeServer), ...['p1', 'p2'].map(pythonServer));
      pythons.push(...(await Promise.all(Array.from({ length: PYTHON_CLIENTS }, () => openPeer(column)))));
      const clients = Array.from({ length: NODE_CLIENTS }, () => openTransport());
      transports.push(...clients);
      await Promise.all(victims.map((victim) => victim.start()));
      let kills = 0;
      const over = new AbortController();
      const killing = (async () => {
        // One at a time is away, of each language in turn.
        for (const i of endlessly([0, 2, 1, 3])) {
          await sleep(REST, undefined, { signal: over.signal }).catch(() => undefined);
          if (over.signal.aborted) return;
          await victims[i]?.kill();
          kills++;
          await victims[i]?.start();
        }
      })();
      const ends: End[] = [];
      let rounds = 0;
      do {
        const first = rounds++ * CALLS;
        const nodes = clients.map((transport, i) => callFromNode(transport, first + i * EACH));
        const others = pythons.map((peer, i) => callFromPython(peer, first + (NODE_CLIENTS + i) * EACH));
        ends.push(...(await Promise.all([...nodes, ...others])).flat());
      } while (kills < KILLS && rounds < MOST_ROUNDS);
      over.abort();
      await killing;
      const count = (end: End) => ends.filter((one) => one === end).length;
      console.log(`${ends.length} calls, ${kills} kills: ${count('own')} answered, ${count('timeout')} timed out`);
      expect(ends.filter((end) => end !== 'own' && end !== 'timeout')).toEqual([]);
      expect(ends).toHaveLength(rounds * CALLS);
      expect(kills).toBeGreaterThanOrEqual(KILLS);
      // What was at work in a server that was killed is lost, and no more than that.
      expect(count('own')).toBeGreaterThan(ends.length / 2);
    },
    newestOnly,
    60_000 + 60_000 * scale,
  );
}
