import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { type Delivery, Exchange, Mailbox, Queue } from 'wakame';
import { BROKERS, bench, range, temporaryFolder } from './support/command.js';

// Processes need their time to start on a machine that has much else to do.
vi.setConfig({ testTimeout: 60_000 });

const lines = (text: string): unknown[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

describe.each(BROKERS)('on %s', (broker) => {
  const { connection, channel, wakame, succeed, start, queueName, exchangeName, queue, fill, numbers, depth } = bench(
    'cli',
    broker,
  );

  describe('the command line', () => {
    it('has help with examples for every command', async () => {
      const all = await succeed('--help');
      const commands = [...all.slice(all.indexOf('COMMANDS')).matchAll(/^ {2}(\w+) /gm)].map(([, name = '']) => name);
      expect(commands).toContain('publish');
      const groups: Record<string, string[]> = {
        list: ['queues', 'exchanges', 'bindings'],
        declare: ['queue', 'exchange'],
        delete: ['queue', 'exchange'],
        celery: ['inspect', 'control'],
      };
      const paths = commands.flatMap((name) => groups[name]?.map((sub) => [name, sub]) ?? [[name]]);
      await Promise.all(
        paths.map(async (path) => {
          const help = await succeed(...path, '--help');
          // The general form, one example or more with what it does, and --help.
          expect(help.match(/^ {2}wakame .*\n {4}\S/gm)?.length, path.join(' ')).toBeGreaterThan(0);
        }),
      );
    });

    it('suggests what was meant', async () => {
      const runs = await Promise.all([
        wakame(['pblish']),
        wakame(['ping', '--cuont', '1']),
        wakame(['-u', 'amqq://localhost', 'ping']),
      ]);
      expect(runs.map(({ code }) => code)).toEqual([2, 2, 2]);
      expect(runs[0]?.stderr).toMatch(/did you mean `publish`/);
      expect(runs[1]?.stderr).toMatch(/did you mean --count/);
      expect(runs[2]?.stderr).toMatch(/did you mean 'amqp'/);
    });

    it('says what is wrong in one line, or in one of JSON', async () => {
      const mistakes = [
        ['pblish'],
        ['consume'],
        ['consume', 'q', '--count', 'x'],
        ['publish', '-q', 'q', '{}', '--serializer', 'jsn'],
        ['call', 'box', 'command', 'not-a-pair'],
        ['completion', 'tcsh'],
        ['-u'],
      ];
      for (const words of mistakes) {
        const { code, stdout, stderr } = await wakame(words);
        expect([code, stdout], words.join(' ')).toEqual([2, '']);
        expect(stderr).toMatch(/^wakame: .+\n$/);
        const forPrograms = await wakame(['--json', ...words]);
        expect([forPrograms.code, forPrograms.stdout]).toEqual([2, '']);
        expect(JSON.parse(forPrograms.stderr)).toEqual({
          error: { code: 'INVALID_ARGUMENT', message: stderr.slice('wakame: '.length, -1) },
        });
      }
      expect(await succeed('help', 'list', 'queues')).toBe(await succeed('list', 'queues', '--help'));
    });

    it('tells scripts by exit codes what happened', async () => {
      const empty = await queue();
      const runs = await Promise.all([
        wakame(['ping', '-n', '1']),
        wakame(['publish', '', 'nowhere', 'x', '--mandatory']),
        wakame(['publish', '--queue', empty, '--lines', 'x']),
        wakame(['get', empty]),
        wakame(['ping', '-u', 'amqp://localhost:1']),
        wakame(['get', queueName()]),
        wakame(['publish', '--queue', queueName(), 'x']),
        wakame(['publish', '--queue', empty], { input: '' }),
        wakame(['publish', '--queue', empty, '--file', '/there/is/none']),
      ]);
      expect(runs.map(({ code }) => code)).toEqual([0, 1, 2, 3, 4, 5, 5, 2, 1]);
    });

    it('writes an error as JSON to standard error', async () => {
      const { stdout, stderr } = await wakame(['--json', 'get', 'cli.there-is-none']);
      expect(stdout).toBe('');
      expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'NOT_FOUND' } });
      const nothing = await wakame(['--json', 'get', await queue()]);
      expect(JSON.parse(nothing.stderr)).toMatchObject({ error: { code: 'EMPTY' } });
    });

    it('never shows a password', async () => {
      const { stdout, stderr } = await wakame(['ping', '-u', 'amqp://me:s3cret@localhost:1']);
      expect(stdout + stderr).not.toMatch(/s3cret/);
    });

    it('takes any URL that the library knows', async () => {
      const { server, transport } = JSON.parse(await succeed('info', '-u', 'memory://', '--json'));
      expect([transport, typeof server]).toEqual(['memory', 'object']);
      const servers = { rabbitmq: /server +RabbitMQ \d/, redis: /server +Redis \d/, sqlite: /server +SQLite \d/ };
      expect(await succeed('info')).toMatch(servers[broker]);
      expect(JSON.parse(await succeed('ping', '--json', '--count', '2'))).toMatchObject({ answers: 2 });
    });
  });

  describe('publish', () => {
    it('sends a body as what it is, and as it stands', async () => {
      const name = await queue();
      await succeed(
        'publish',
        '--queue',
        name,
        '{"id": 12345678901234567890}',
        '--header',
        'n=1',
        '--property',
        'correlation-id=c',
      );
      await succeed('publish', '', name, 'just text', '--compression', 'zlib');
      await wakame(['publish', '--queue', name], { input: new Uint8Array([0xff, 0]) });
      await succeed('publish', '--queue', name, '{"a":1}', '--serializer', 'msgpack');
      const found: (Delivery | undefined)[] = [];
      for (let i = 0; i < 4; i++) found.push(await channel.get(name, { noAck: true }));
      expect(found.map((delivery) => delivery?.properties.contentType)).toEqual([
        'application/json',
        'text/plain',
        'application/data',
        'application/x-msgpack',
      ]);
      const [json, , bytes] = found;
      expect(Buffer.from(json?.body ?? []).toString()).toBe('{"id": 12345678901234567890}');
      expect(json?.properties).toMatchObject({ headers: { n: 1 }, correlationId: 'c' });
      expect([...(bytes?.body ?? [])]).toEqual([0xff, 0]);
    });

    it('sends each line, repeats, and keeps to a rate', async () => {
      const name = await queue();
      const started = performance.now();
      const { stdout } = await wakame(
        ['publish', '--queue', name, '--lines', '--repeat', '3', '--rate', '20', '--json'],
        {
          input: '{"n":0}\n\n{"n":1}\n',
        },
      );
      expect(JSON.parse(stdout)).toEqual({ published: 6, unroutable: 0 });
      expect(performance.now() - started).toBeGreaterThan(250);
      expect(await numbers(name)).toEqual([0, 0, 0, 1, 1, 1]);
    });

    it('waits for the broker, or not', async () => {
      const name = await queue();
      for (const way of ['--confirm', '--no-confirm']) await succeed('publish', '--queue', name, '{"n":1}', way);
      await expect.poll(() => depth(name)).toBe(2);
    });

    it('takes lines byte by byte, however they end and wherever the input is cut', async () => {
      const name = await queue();
      const long = Buffer.alloc(200_000, 'x');
      const input = Buffer.concat([
        Buffer.from([0xff, 0xfe, 0x0a]),
        Buffer.from('é\r\n\n\r\n'),
        long,
        Buffer.from('\nlast'),
      ]);
      const file = join(temporaryFolder(), 'lines');
      writeFileSync(file, input);
      await succeed('publish', '--queue', name, '--lines', '--file', file);
      await wakame(['publish', '--queue', name, '--lines'], { input });
      const found: Uint8Array[] = [];
      for (let i = 0; i < 8; i++) found.push((await channel.get(name, { noAck: true }))?.body ?? new Uint8Array());
      const lines = [Buffer.from([0xff, 0xfe]), Buffer.from('é'), long, Buffer.from('last')];
      expect(Buffer.concat(found).equals(Buffer.concat([...lines, ...lines]))).toBe(true);
      expect(found.map(({ length }) => length)).toEqual([...lines, ...lines].map(({ length }) => length));
    });

    it('warns of what no queue took', async () => {
      const exchange = exchangeName();
      await channel.exchangeDeclare(exchange, 'direct');
      const { code, stdout, stderr } = await wakame(['publish', exchange, 'nobody', 'x', '--json']);
      expect([code, JSON.parse(stdout)]).toEqual([0, { published: 1, unroutable: 1 }]);
      expect(JSON.parse(stderr)).toEqual({ warning: 'no queue took 1 message' });
    });
  });

  describe('consume and get', () => {
    it('print a line of JSON for each message, with all digits, and acknowledge them', async () => {
      const name = await queue();
      await wakame(['publish', '--queue', name, '--lines', '--header', 'h=x'], {
        input: '{"id": 12345678901234567890}\nplain\n',
      });
      const out = await succeed('consume', name, '--json', '--count', '2');
      expect(out).toContain('"body":{"id": 12345678901234567890}}');
      expect(lines(out)).toMatchObject([
        { queue: name, headers: { h: 'x' }, properties: { contentType: 'application/json' } },
        { body: 'plain', redelivered: false },
      ]);
      expect(await depth(name)).toBe(0);
    });

    it('--peek leaves everything in its place; --timeout and --count end it', async () => {
      const name = await queue();
      await fill(name, 3);
      expect(lines(await succeed('consume', name, '--peek', '--json'))).toHaveLength(3);
      expect(await succeed('get', name, '--peek', '--format', 'body')).toBe('{"n":0}\n');
      expect(await numbers(name)).toEqual([0, 1, 2]);
      expect(lines(await succeed('consume', name, '--requeue', '--json', '--count', '2'))).toHaveLength(2);
      // Behind the others on Redis.
      const order = broker === 'redis' ? [2, 0, 1] : [0, 1, 2];
      expect(await numbers(name)).toEqual(order);
      expect(await succeed('get', name, '--format', 'body')).toBe(`{"n":${order[0]}}\n`);
      const { code, stdout } = await wakame([
        'consume',
        name,
        '--count',
        '5',
        '--timeout',
        '300ms',
        '--format',
        'body',
      ]);
      expect([code, stdout]).toEqual([
        3,
        order
          .slice(1)
          .map((n) => `{"n":${n}}\n`)
          .join(''),
      ]);
    });

    it('show what cannot be decoded, and control characters', async () => {
      const name = await queue();
      const properties = { contentType: 'application/x-python-serialize', headers: {} };
      await channel.publish({
        exchange: '',
        routingKey: name,
        body: Buffer.from([0x80, 4]),
        properties,
        unroutable: 'reject',
      });
      await connection.producer().publish('\x1b[31mred', { routingKey: name });
      const out = await succeed('consume', name, '--count', '2');
      expect(out).toMatch(/pickle/);
      expect(out).toContain('gAQ=');
      expect(out).toContain('\\x1b[31mred');
    });

    it('--exec hands each to a program, and settles by its exit code', async () => {
      const dead = await queue();
      const name = await queue({ arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead } });
      await fill(name, 3);
      const file = join(temporaryFolder(), 'out');
      const command = `body=$(cat); echo "$WAKAME_QUEUE $body" >> ${file}; case $body in *1*) exit 7;; esac`;
      const args = ['consume', name, '--exec', command, '--on-failure', 'reject', '--count', '3'];
      const { code, stderr } = await wakame(args);
      const said = readFileSync(file, 'utf8');
      expect([code, said]).toEqual([
        0,
        range(3)
          .map((n) => `${name} {"n":${n}}\n`)
          .join(''),
      ]);
      expect(stderr).toMatch(/exit code 7/);
      expect(await depth(name)).toBe(0);
      expect(await numbers(dead)).toEqual([1]);
      await fill(name, 2);
      expect((await wakame(['consume', name, '--exec', 'exit 1', '--on-failure', 'stop'])).code).toBe(1);
      expect(await numbers(name)).toEqual([0, 1]);
    });
  });

  describe('declare, bind, list, purge, delete', () => {
    it('make and unmake what stands', async () => {
      const [exchange, name] = [exchangeName(), queueName()];
      await succeed('declare', 'exchange', exchange, '--type', 'topic');
      await succeed(
        'declare',
        'queue',
        name,
        '--exchange',
        exchange,
        '--key',
        'a.*',
        '--max-length',
        '5',
        '--argument',
        'x-max-priority=3',
      );
      await succeed('bind', exchange, name, '--key', 'b.#');
      await succeed('publish', exchange, 'a.1', 'hello');
      const listed = JSON.parse(await succeed('list', 'queues', name, '--json'));
      expect(listed).toMatchObject([
        { name, durable: true, messageCount: 1, arguments: { 'x-max-length': 5, 'x-max-priority': 3 } },
      ]);
      expect(JSON.parse(await succeed('list', 'exchanges', exchange, '--json'))).toMatchObject([
        { name: exchange, type: 'topic' },
      ]);
      const bindings = async () =>
        JSON.parse(await succeed('list', 'bindings', exchange, '--json')) as { routingKey: string }[];
      expect((await bindings()).map(({ routingKey }) => routingKey)).toEqual(['a.*', 'b.#']);
      await succeed('unbind', exchange, name, '--key', 'b.#');
      expect(await bindings()).toHaveLength(1);
      expect(await succeed('list', 'queues', name)).toMatch(/^QUEUE +MESSAGES +CONSUMERS +IS\n\S+ +1 +0 +durable/);

      const refused = await wakame(['purge', name]);
      expect([refused.code, await depth(name)]).toEqual([2, 1]);
      expect(refused.stderr).toMatch(/--yes/);
      expect(JSON.parse(await succeed('purge', name, '--yes', '--json'))).toEqual({ queue: name, purged: 1 });
      await succeed('delete', 'queue', name, '--if-empty', '--yes');
      await succeed('delete', 'exchange', exchange, '--yes');
      expect((await wakame(['delete', 'queue', name, '--yes'])).code).toBe(5);
    });
  });

  describe('tail', () => {
    it('shows copies of what passes an exchange', async () => {
      const [exchange, name] = [new Exchange(exchangeName(), { type: 'topic' }), await queue()];
      const bound = new Queue(name, { exchange, routingKey: '#' }).bind(connection);
      await bound.declare();
      const running = start('tail', exchange.name, '--key', 'a.*', '--count', '1', '--format', 'body');
      await running.until(({ stderr }) => stderr.includes('listening'));
      const producer = connection.producer({ exchange });
      await producer.publish('not this', { routingKey: 'b.1' });
      await producer.publish('this', { routingKey: 'a.1' });
      expect(await running.ended).toMatchObject({ code: 0, stdout: 'this\n' });
      expect(await depth(name)).toBe(2);
    });
  });

  describe('celery', () => {
    it('asks and commands workers', async () => {
      const mailbox = new Mailbox('celery', { type: 'fanout', connection });
      const name = `cli@${process.pid}`;
      const limits: unknown[] = [];
      const node = mailbox.node(name, { handlers: { ping: () => ({ ok: 'pong' }) } });
      node.handler('rate_limit', (args) => limits.push(args));
      await node.listen();
      try {
        const to = ['--destination', name, '--timeout', '5s', '--json'];
        const pong = [{ hostname: name, value: { ok: 'pong' } }];
        expect(JSON.parse(await succeed('celery', 'inspect', 'ping', ...to))).toEqual(pong);
        await succeed('celery', 'control', 'rate_limit', 'tasks.add', '10/m', ...to);
        expect(limits).toEqual([{ task_name: 'tasks.add', rate_limit: '10/m' }]);
        expect((await wakame(['celery', 'inspect', 'revoke', 'id'])).code).toBe(2);
      } finally {
        await node.close();
        await mailbox.close();
      }
    });
  });

  describe('bench, doctor, completion', () => {
    it('measure', async () => {
      const { results } = JSON.parse(await succeed('bench', '--count', '200', '--trips', '5', '--json'));
      expect(results).toMatchObject([
        { what: 'publish', messages: 200, latency: { p50: expect.any(Number) } },
        { what: 'consume', messages: 200 },
        { what: 'round trip', messages: 5 },
      ]);
    });

    it('tell what works, and what to do about the rest', async () => {
      const name = await queue({
        arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'cli.none' },
      });
      const found = JSON.parse(await succeed('doctor', '--json')) as { state: string; what: string; detail?: string }[];
      const works = found.filter(({ state }) => state === 'ok').map(({ what }) => what);
      expect(works).toEqual(expect.arrayContaining(['publishes with confirms', 'delays messages', 'lists queues']));
      const lost = found.find(({ what }) => what === 'queues whose dead letters go nowhere');
      expect(lost?.detail).toContain(name);
      const nowhere = await wakame(['doctor', '-u', 'amqp://localhost:1']);
      expect([nowhere.code, nowhere.stdout]).toEqual([4, expect.stringMatching(/Is the broker running/)]);
    });

    it('propose commands, options and the names of queues', async () => {
      const name = await queue();
      expect(await succeed('__complete', '--', 'cons')).toMatch(/^consume\t/);
      expect(await succeed('__complete', '--', 'publish', '--rep')).toMatch(/^--repeat\t/);
      expect(await succeed('__complete', '--', 'consume', name.slice(0, -1))).toContain(`${name}\t`);
      expect(await succeed('completion', 'bash')).toMatch(/complete .* wakame/);
    });
  });

  describe('broadcast and call', () => {
    it('reach the nodes of a mailbox and print their replies', async () => {
      const mailbox = new Mailbox(`cli-${process.pid}`, { type: 'fanout', connection });
      const node = mailbox.node('kitchen');
      let said: unknown;
      node.handler('add', ({ x, y }) => Number(x) + Number(y));
      node.handler('fail', () => {
        throw new Error('no');
      });
      const heard = new Promise<void>((resolve) =>
        node.handler('say', (args) => {
          said = args;
          resolve();
        }),
      );
      await node.listen();
      try {
        const to = [mailbox.namespace, '--type', 'fanout', '--timeout', '2s', '--json', '--limit', '1'];
        expect(JSON.parse(await succeed('call', ...to, 'add', 'x=2', 'y=3'))).toEqual([
          { hostname: 'kitchen', value: 5 },
        ]);
        expect((await wakame(['call', ...to, 'fail'])).code).toBe(1);
        await succeed('broadcast', mailbox.namespace, '--type', 'fanout', 'say', 'msg=hello');
        await heard;
        expect(said).toEqual({ msg: 'hello' });
        expect((await wakame(['call', `${mailbox.namespace}-none`, 'ping', '--timeout', '200ms'])).code).toBe(3);
      } finally {
        await node.close();
        await mailbox.close();
      }
    });
  });
});
