export interface Section {
  readonly title: string;
  readonly pages: readonly string[];
  /** Whether the menu shows the pages at first. */
  readonly open?: boolean;
}

/** What the site has, and in which order. Paths from the root of the repository; titles are the pages' own first headings. */
export const sections: readonly Section[] = [
  { title: 'Start', open: true, pages: ['docs/first-steps.md', 'docs/concepts.md', 'docs/guides/cli.md'] },
  {
    title: 'Guides',
    open: true,
    pages: [
      'docs/guides/work-queues.md',
      'docs/guides/publish-subscribe.md',
      'docs/guides/rpc.md',
      'docs/guides/mailboxes.md',
      'docs/guides/delays.md',
      'docs/guides/priorities.md',
      'docs/guides/retries.md',
      'docs/guides/outbox.md',
      'docs/guides/testing.md',
      'docs/guides/tracing.md',
    ],
  },
  {
    title: 'Coming from',
    open: true,
    pages: ['docs/guides/from-amqplib.md', 'docs/guides/from-kombu.md', 'docs/guides/from-celery-node.md'],
  },
  {
    title: 'Transports',
    open: true,
    pages: [
      'docs/transports.md',
      'docs/transports/amqp.md',
      'docs/guides/redis.md',
      'docs/guides/sql.md',
      'docs/guides/filesystem.md',
      'docs/transports/memory.md',
      'docs/guides/writing-a-transport.md',
    ],
  },
  {
    title: 'Beside Python',
    open: true,
    pages: ['docs/guides/celery.md', 'docs/guides/openstack.md', 'docs/interop.md'],
  },
  {
    title: 'In depth',
    open: true,
    pages: [
      'docs/options.md',
      'docs/reliability.md',
      'docs/security.md',
      'docs/performance.md',
      'docs/known-bugs-of-others.md',
    ],
  },
  {
    title: 'The project',
    pages: [
      'examples/README.md',
      'packages/wakame/README.md',
      'packages/amqp/README.md',
      'packages/oslo/README.md',
      'packages/cli/README.md',
      'ARCHITECTURE.md',
      'CONTRIBUTING.md',
      'SECURITY.md',
      'CHANGELOG.md',
    ],
  },
  { title: 'Decisions', pages: ['docs/decisions/*.md'] },
];

/** The modules of the reference: by which name they are imported, and where their source is. */
export const modules: Readonly<Record<string, string>> = {
  wakame: 'packages/wakame/src/index.ts',
  'wakame/filesystem': 'packages/wakame/src/transports/filesystem/index.ts',
  'wakame/memory': 'packages/wakame/src/transports/memory/index.ts',
  'wakame/otel': 'packages/wakame/src/otel/index.ts',
  'wakame/redis': 'packages/wakame/src/transports/redis/index.ts',
  'wakame/sql': 'packages/wakame/src/transports/sql/index.ts',
  'wakame/virtual': 'packages/wakame/src/transports/virtual/index.ts',
  'wakame/wire': 'packages/wakame/src/transports/virtual/wire/index.ts',
  'wakame/testing': 'packages/wakame/src/testing/index.ts',
  '@wakame/amqp': 'packages/amqp/src/index.ts',
  '@wakame/amqp/errors': 'packages/amqp/src/errors.ts',
  '@wakame/oslo': 'packages/oslo/src/index.ts',
};
