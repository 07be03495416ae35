import { afterAll, describe, it } from 'vitest';
import { transportConformance } from 'wakame/testing';
import { startFaultProxy, through } from '../../../../scripts/lib/network/fault-proxy.ts';

/** A server of the suite's own, since it restarts it. */
interface DatabaseServer {
  readonly host: string;
  readonly port: number;
  readonly url: string;
  restart(): Promise<void>;
  stop(): Promise<void>;
  remove(): void;
}

/** The suite on a database that is a server. */
export async function conformanceOfDatabase(name: string, server: DatabaseServer): Promise<void> {
  const proxy = await startFaultProxy(server);

  afterAll(async () => {
    await proxy.close();
    await server.stop();
    server.remove();
  });

  await transportConformance(
    { describe, it },
    {
      name,
      url: server.url,
      // A killed process holds its messages for the time of a lease.
      connection: { transportOptions: { lease: 5 } },
      unsupported: {
        heartbeats: 'every question to the database is one',
        mute: 'a transaction is made of questions, each of which needs its answer: without them nothing is stored',
      },
      disrupt: {
        url: through(proxy, server.url),
        drop: async () => {
          const dropped = proxy.reset();
          proxy.clear(); // What was withheld is gone with its connection.
          await dropped;
        },
        outage: async () => {
          proxy.refuse();
          await proxy.reset();
          return () => proxy.accept();
        },
      },
      scale: 0.1 * Number(process.env.WAKAME_TEST_SCALE ?? 1),
      restartBroker: () => server.restart(),
      processes: { execArgv: ['--import', new URL('../support/source-loader.mjs', import.meta.url).href] },
    },
  );
}
