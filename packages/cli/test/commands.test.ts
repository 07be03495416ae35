import { describe, expect, it } from 'vitest';
import { type Delivery, Exchange, Mailbox, Queue } from 'wakame';
import { bench, Running, range, succeed, wakame } from './support/command.js';

const { connection, channel, queueName, exchangeName, queue, fill, numbers, depth } = bench('cli');

const lines = (text: string): unknown[] =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

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

  it('tells scripts by exit codes what happened', async () => {
    const empty = await queue();
    const runs = await Promise.all([
      wakame(['ping', '-n', '1']),
      wakame(['publish', '', 'nowhere', 'x', '--mandatory']),
      wakame(['publish', '--queue', empty, '--lines', 'x']),
      wakame(['get', empty]),
      wakame(['ping', '-u', 'amqp://localhost:1']),
      wakame(['get', queueName()]),
    ]);
    expect(runs.map(({ code }) => code)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('writes an error as JSON to standard error', async () => {
    const { stdout, stderr } = await wakame(['--json', 'get', 'cli.there-is-none']);
    expect(stdout).toBe('');
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'NOT_FOUND' } });
  });

  it('never shows a password', async () => {
    const { stdout, stderr } = await wakame(['ping', '-u', 'amqp://me:s3cret@localhost:1']);
    expect(stdout + stderr).not.toMatch(/s3cret/);
  });

  it('takes any URL that the library knows', async () => {
    const { server, transport } = JSON.parse(await succeed('info', '-u', 'memory://', '--json'));
    expect([transport, typeof server]).toEqual(['memory', 'object']);
    expect(await succeed('info')).toMatch(/server +RabbitMQ/);
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

  it('warns of what no queue took', async () => {
    const exchange = exchangeName();
    await channel.exchangeDeclare(exchange, 'direct');
    const { code, stdout, stderr } = await wakame(['publish', exchange, 'nobody', 'x', '--json']);
    expect([code, JSON.parse(stdout)]).toEqual([0, { published: 1, unroutable: 1 }]);
    expect(stderr).toMatch(/no queue took 1 message/);
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
    expect(await numbers(name)).toEqual([0, 1, 2]);
    expect(await succeed('get', name, '--format', 'body')).toBe('{"n":0}\n');
    const { code, stdout } = await wakame(['consume', name, '--count', '5', '--timeout', '300ms', '--format', 'body']);
    expect([code, stdout]).toEqual([3, '{"n":1}\n{"n":2}\n']);
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
    const command = `body=$(cat); echo "$WAKAME_QUEUE $body"; case $body in *1*) exit 7;; esac`;
    const args = ['consume', name, '--exec', command, '--on-failure', 'reject', '--count', '3'];
    const { code, stdout, stderr } = await new Running(args).ended;
    expect([code, stdout]).toEqual([
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

  it('Ctrl-C lets the program at work finish, and gives the rest back', async () => {
    const name = await queue();
    await fill(name, 3);
    const running = new Running(['consume', name, '--exec', 'echo started; read line; sleep 0.3; echo finished']);
    await running.until(({ stdout }) => stdout.includes('started'));
    running.process.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect([code, stdout]).toEqual([130, 'started\nfinished\n']);
    expect(await numbers(name)).toEqual([1, 2]);
  });

  it('SIGTERM ends a consumer that waits', async () => {
    const name = await queue();
    const running = new Running(['consume', name, '--format', 'body']);
    await fill(name, 1);
    await running.until(({ stdout }) => stdout === '{"n":0}\n');
    running.process.kill('SIGTERM');
    expect(await running.ended).toMatchObject({ code: 143, signal: null });
    expect(await depth(name)).toBe(0);
  });

  it('a reader that goes away loses nothing', async () => {
    const name = await queue();
    await fill(name, 2000);
    const running = new Running(['consume', name, '--format', 'body', '--prefetch', '1']);
    await running.until(({ stdout }) => stdout.includes('\n'));
    running.process.stdout.destroy();
    expect((await running.ended).code).toBe(0);
    const left = await numbers(name);
    const printed = running.stdout.trim().split('\n').length;
    // What the reader never saw may have been in the pipe: nothing else is missing.
    expect(left).toEqual(range(left.length, 2000 - left.length));
    expect(left.length).toBeGreaterThan(0);
    expect(printed).toBeLessThanOrEqual(2000 - left.length);
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
    const running = new Running(['tail', exchange.name, '--key', 'a.*', '--count', '1', '--format', 'body']);
    await running.until(({ stderr }) => stderr.includes('listening'));
    const producer = connection.producer({ exchange });
    await producer.publish('not this', { routingKey: 'b.1' });
    await producer.publish('this', { routingKey: 'a.1' });
    expect(await running.ended).toMatchObject({ code: 0, stdout: 'this\n' });
    expect(await depth(name)).toBe(2);
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
