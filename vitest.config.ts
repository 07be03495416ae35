import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const source = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  resolve: {
    // Tests read the sources, so that a change needs no build to be tested.
    alias: [
      { find: /^@wakame\/amqp$/, replacement: source('packages/amqp/src/index.ts') },
      { find: /^@wakame\/amqp\/(.*)$/, replacement: `${source('packages/amqp/src')}/$1.ts` },
      { find: /^@wakame\/oslo$/, replacement: source('packages/oslo/src/index.ts') },
      { find: /^wakame$/, replacement: source('packages/wakame/src/index.ts') },
      { find: /^wakame\/filesystem$/, replacement: source('packages/wakame/src/transports/filesystem/index.ts') },
      { find: /^wakame\/memory$/, replacement: source('packages/wakame/src/transports/memory/index.ts') },
      { find: /^wakame\/otel$/, replacement: source('packages/wakame/src/otel/index.ts') },
      { find: /^wakame\/redis$/, replacement: source('packages/wakame/src/transports/redis/index.ts') },
      { find: /^wakame\/sql$/, replacement: source('packages/wakame/src/transports/sql/index.ts') },
      { find: /^wakame\/virtual$/, replacement: source('packages/wakame/src/transports/virtual/index.ts') },
      { find: /^wakame\/wire$/, replacement: source('packages/wakame/src/transports/virtual/wire/index.ts') },
      { find: /^wakame\/util$/, replacement: source('packages/wakame/src/util/index.ts') },
      { find: /^wakame\/testing$/, replacement: source('packages/wakame/src/testing/index.ts') },
    ],
  },
  test: {
    include: [
      'packages/*/test/**/*.test.ts',
      'scripts/test/**/*.test.ts',
      'chaos/test/**/*.test.ts',
      'interop/*.test.ts',
    ],
    globalSetup: 'scripts/lib/brokers/vitest.ts',
    // The second prints the matrix of interop/ when its tests were run.
    reporters: ['default', './interop/support/reporter.ts'],
    // A process of its own for each file: tests may end their sockets, their event loop or themselves.
    pool: 'forks',
    // Most of them wait for brokers, peers and timers more than they compute: more at a time than there are cores.
    maxWorkers: Math.max(4, availableParallelism()),
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
});
