/** URLs and options of oslo.messaging, and what follows from them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { type OsloOptions, parseTransportUrl, Target, Transport } from '@wakame/oslo';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Connection, type Queue } from 'wakame';
import { runTypeScript } from '../../../interop/support/programs.ts';
import { osloSettings } from '../src/options.ts';
import { takeName } from '../src/queue-names.ts';
import { Topology } from '../src/topology.ts';
import { hexId } from '../src/wire/envelope.ts';

describe('transport URLs', () => {
  test('as oslo.messaging reads them', () => {
    expect(parseTransportUrl('rabbit://me:p%40ss@one:5673,me:x@[::1]:5672/nova?ssl=true&heartbeat_rate=2')).toEqual({
      transport: 'rabbit',
      hosts: [
        { hostname: 'one', port: 5673, username: 'me', password: 'p@ss' },
        { hostname: '::1', port: 5672, username: 'me', password: 'x' },
      ],
      virtualHost: 'nova',
      query: { ssl: 'true', heartbeat_rate: '2' },
    });
    expect(parseTransportUrl('rabbit://')).toEqual({
      transport: 'rabbit',
      hosts: [],
      virtualHost: undefined,
      query: {},
    });
    expect(parseTransportUrl('rabbit://h//').virtualHost).toBe('/');
    expect(parseTransportUrl('rabbit://h/a%2Fb').virtualHost).toBe('a/b');
  });

  test('what is none says so, without the password', () => {
    const wrong = [
      '',
      'rabbit',
      'rabbit:/h',
      'rabbit://u:secret@a,b/',
      'rabbit://u:secret@[x]:1/',
      'rabbit://u:secret@h:99999/',
      'rabbit://u:%secret@h/',
    ];
    for (const url of wrong) {
      const error = (() => {
        try {
          return parseTransportUrl(url);
        } catch (thrown) {
          return thrown as Error;
        }
      })();
      expect(error).toMatchObject({ code: 'INVALID_URL' });
      expect((error as Error).message).not.toContain('secret');
    }
  });

  test('whatever a user or password is, it arrives', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), fc.string(), (username, password) => {
        const url = `rabbit://${encodeURIComponent(username)}:${encodeURIComponent(password)}@h/v`;
        expect(parseTransportUrl(url).hosts).toEqual([{ hostname: 'h', port: undefined, username, password }]);
      }),
    );
  });
});

describe('a transport', () => {
  test('a URL’s query wins over the options, which win over the defaults', () => {
    const transport = new Transport('rabbit://h/?rpc_response_timeout=7&amqp_durable_queues=True', {
      conf: { rpc_response_timeout: 9, control_exchange: 'nova' },
    });
    expect(transport.conf).toMatchObject({
      ...{
        rpc_response_timeout: 7,
        amqp_durable_queues: true,
        control_exchange: 'nova',
        heartbeat_timeout_threshold: 60,
      },
    });
  });

  test('where it connects', () => {
    const urlOf = (url: string) => new Transport(url).connection.asUri({ includePassword: true });
    expect(urlOf('rabbit://')).toContain('amqp://guest:guest@localhost:5672//');
    expect(urlOf('rabbit://u:p%2F@h:1/v')).toContain('amqp://u:p%2F@h:1/v');
    expect(urlOf('kombu+memory://x')).toContain('memory://x');
    expect(urlOf('fake:///bus')).toContain('memory://bus');
    expect(urlOf('rabbit://u:p@h/?ssl=1')).toContain('amqps://');
    const shuffled = new Transport('rabbit://a,b/?kombu_failover_strategy=shuffle&heartbeat_timeout_threshold=20');
    expect(shuffled.connection.info()).toMatchObject({ failoverStrategy: 'shuffle', heartbeat: 20_000 });
  });

  test('options of Mitaka say where it connects, when the URL does not', () => {
    const urlOf = (conf: OsloOptions, url?: string) =>
      new Transport(url, { conf }).connection.asUri({ includePassword: true });
    const user = { rabbit_userid: 'u', rabbit_password: 'p/', rabbit_virtual_host: 'nova' };
    expect(urlOf({ rabbit_host: 'h', rabbit_port: 1, ...user })).toContain('amqp://u:p%2F@h:1/nova');
    expect(urlOf({ rabbit_host: '::1', ...user })).toContain('amqp://u:p%2F@[::1]:5672/nova');
    expect(urlOf({ rabbit_hosts: 'a:7', rabbit_port: '9', rabbit_use_ssl: 'yes' })).toContain(
      'amqps://guest:guest@a:7',
    );
    expect(urlOf({ rabbit_hosts: ['a'], ...user }, 'rabbit:///v')).toContain('amqp://u:p%2F@a:5672/v');
    expect(urlOf(user, 'rabbit://x:y@h/')).toContain('amqp://x:y@h:5672/nova');
    const several = new Transport('rabbit://', { conf: { rabbit_hosts: ['a:1', '[::1]:2', 'c'] } }).connection;
    const info = several.info();
    const all = [several.asUri(), ...info.alternates].join();
    for (const host of ['a:1', '[::1]:2', 'c:5672']) expect(all).toContain(host);
    expect(urlOf({ fake_rabbit: true })).toContain('memory://fake');
    expect(urlOf({ fake_rabbit: true, rabbit_virtual_host: 'v' })).toContain('memory://v');
    expect(urlOf({ transport_url: 'rabbit://h:3/' })).toContain('h:3');
    expect(urlOf({ transport_url: 'rabbit://h:3/' }, 'rabbit://h:4/')).toContain('h:4');
  });

  test('transports of Kombu', () => {
    const connected = (url: string) => new Transport(url).connection.asUri({ includePassword: true });
    expect(connected('kombu+memory:///bus')).toContain('memory://bus');
    expect(connected('kombu+amqp://u:p@h/v')).toContain('amqp://u:p@h:5672/v');
    expect(connected('kombu+rabbit://')).toContain('amqp://guest:guest@localhost:5672//');
    expect(connected('kombu+redis://h:1/2')).toContain('redis://h:1/2');
    // The query is for oslo.messaging, never for Kombu.
    expect(new Transport('kombu+redis://h/2?rpc_response_timeout=7').conf.rpc_response_timeout).toBe(7);
    expect(() => new Transport('kombu+redis://h/2?visibility_timeout=7')).toThrow('visibility_timeout');
    expect(() => new Transport('kombu+nothing://h')).toThrow('nothing');
  });

  test('passwords are not shown', () => {
    const conf = { transport_url: 'rabbit://u:secret@h/', rabbit_password: 'secret' };
    const transport = new Transport(undefined, { conf });
    expect(transport.conf.rabbit_password).toBe('secret');
    expect(inspect(transport, { depth: 9 }) + JSON.stringify(transport.conf)).not.toContain('secret');
    const wrong = () => new Transport(undefined, { conf: { rabbit_password: ['secret'] as never } });
    expect(wrong).toThrow('rabbit_password must be a string, not of type object');
  });

  test('former names of options', () => {
    const { conf } = new Transport('rabbit://h/?kombu_reconnect_timeout=3', { conf: { rabbit_durable_queues: true } });
    expect(conf).toMatchObject({ kombu_missing_consumer_retry_timeout: 3, amqp_durable_queues: true });
  });

  test('what cannot be', () => {
    expect(() => new Transport('rabbit://h/?transport_url=rabbit://')).toThrow('transport_url');
    expect(() => new Transport('rabbit://h/?rabbit_max_retries=many')).toThrow('whole number');
    expect(() => new Transport('rabbit://', { conf: { rabbit_port: 0 } })).toThrow('rabbit_port');
    expect(() => new Transport('rabbit://', { conf: { rabbit_hosts: ['a:b'] } })).toThrow('a:b');
    expect(() => new Transport('rabbit://', { conf: { rabbit_hosts: 7 as never } })).toThrow('array of strings');
    expect(() => new Transport('rabbit://', { conf: { processname: 'a/b' } })).toThrow('processname');
    expect(() => new Transport('rabbit://', { conf: { ssl_enforce_fips_mode: true } })).toThrow('--force-fips');
    expect(() => new Transport('rabbit://h/?rabbit_transient_quorum_queue=1&rabbit_ha_queues=1')).toThrow('exclude');
    expect(() => new Transport('rabbit://h/?rabbit_stream_fanout=1')).toThrow('rabbit_qos_prefetch_count');
    expect(() => new Transport('rabbit://h/?rabbit_stream_fanout=1&rabbit_qos_prefetch_count=1')).toThrow(
      'rabbit_transient_quorum_queue',
    );
    expect(() => new Transport('rabbit://h/?rpc_response_timeouts=7')).toThrow("did you mean 'rpc_response_timeout'?");
    expect(() => new Transport('rabbit://h/?rpc_response_timeout=soon')).toThrow('rpc_response_timeout');
    expect(() => new Transport('rabbit://h/?rabbit_quorum_queue=1&rabbit_ha_queues=1')).toThrow('exclude');
    expect(() => new Transport('rabbit://h/?rabbit_login_method=NONE')).toThrow('rabbit_login_method');
    expect(() => new Transport('rabbbit://h/')).toThrow('rabbbit');
    expect(() => new Transport('nothing')).toThrow('driver');
    expect(() => new Transport(7 as never)).toThrow('7');
    expect(() => new Transport(new Connection('memory://x'), { connection: {} })).toThrow('Connection');
  });
});

describe('queues', () => {
  const shape = (queue: Queue) => {
    const { name, durable, autoDelete, queueArguments = {}, expires, exchange } = queue.toObject();
    return { name: name?.replace(/[0-9a-f]{32}/, 'ID'), durable, autoDelete, expires, queueArguments, exchange };
  };

  test('by default', () => {
    const topology = new Topology(osloSettings());
    expect(topology.exchange()).toMatchObject({ name: 'openstack', type: 'topic', durable: false, autoDelete: false });
    expect(topology.exchange()).toBe(topology.exchange('openstack'));
    expect(topology.fanout('t')).toMatchObject({ name: 't_fanout', type: 'fanout', durable: false, autoDelete: true });
    expect(shape(topology.topicQueue(undefined, 't'))).toMatchObject({
      name: 't',
      durable: false,
      autoDelete: false,
      queueArguments: {},
    });
    expect(shape(topology.fanoutQueue('t', hexId()))).toMatchObject({
      name: 't_fanout_ID',
      durable: false,
      autoDelete: false,
      queueArguments: { 'x-expires': 1_800_000 },
    });
    const reply = topology.replyQueue(hexId());
    expect(shape(reply)).toMatchObject({
      name: 'reply_ID',
      durable: false,
      autoDelete: false,
      queueArguments: { 'x-expires': 1_800_000 },
    });
    expect(reply.exchange).toMatchObject({ name: reply.name, type: 'direct', durable: false, autoDelete: true });
  });

  test('durable, quorum, highly available, without expiry', () => {
    const durable = new Topology(osloSettings({ amqp_durable_queues: true, rabbit_transient_queues_ttl: 0 }));
    expect(shape(durable.topicQueue(undefined, 't'))).toMatchObject({ durable: true });
    expect(shape(durable.replyQueue(hexId()))).toMatchObject({ durable: false, queueArguments: {} });
    const quorum = new Topology(
      osloSettings({ rabbit_quorum_queue: true, rabbit_transient_quorum_queue: true, rabbit_quorum_delivery_limit: 5 }),
    );
    const args = { 'x-queue-type': 'quorum', 'x-delivery-limit': 5 };
    expect(shape(quorum.topicQueue(undefined, 't'))).toMatchObject({ durable: true, queueArguments: args });
    expect(shape(quorum.fanoutQueue('t', hexId()))).toMatchObject({ durable: true, queueArguments: args });
    expect(quorum.fanout('t')).toMatchObject({ durable: true });
    const ha = new Topology(osloSettings({ rabbit_ha_queues: true }));
    expect(shape(ha.topicQueue(undefined, 't'))).toMatchObject({ queueArguments: { 'x-ha-policy': 'all' } });
  });

  test('a stream for what goes to all servers', () => {
    const stream = { rabbit_stream_fanout: true, rabbit_transient_quorum_queue: true, rabbit_qos_prefetch_count: 10 };
    const topology = new Topology(osloSettings(stream));
    const queue = topology.fanoutQueue('t', 'x');
    expect(shape(queue)).toMatchObject({
      ...{ name: 't_fanout', durable: true, autoDelete: false, expires: undefined },
      queueArguments: { 'x-queue-type': 'stream', 'x-max-age': '1800s' },
    });
    expect(queue.consumerArguments).toEqual({ 'x-stream-offset': 'last' });
    const endless = new Topology(osloSettings({ ...stream, rabbit_transient_queues_ttl: 0 }));
    expect(endless.fanoutQueue('t', 'x').queueArguments).toEqual({ 'x-queue-type': 'stream' });
    expect(shape(topology.replyQueue('x'))).toMatchObject({ queueArguments: { 'x-queue-type': 'quorum' } });
  });
});

describe('names of queues', () => {
  test('are random', async () => {
    const [one, two] = [await takeName(osloSettings()), await takeName(osloSettings())];
    expect(one.text).toMatch(/^[0-9a-f]{32}$/);
    expect(one.text).not.toBe(two.text);
  });

  test('oslo.messaging#2110957: no two of a host have one name; the lowest that is free is taken', async () => {
    const service = { use_queue_manager: true, hostname: 'host', processname: `p-${process.pid}` };
    const [one, two] = await Promise.all([takeName(service), takeName(service)]);
    expect([one.text, two.text].toSorted()).toEqual([1, 2].map((n) => `host:${service.processname}:${n}`));
    const another = await takeName({ ...service, hostname: 'other' });
    expect(another.text).toBe(`other:${service.processname}:1`);
    const [first] = [one, two].filter(({ text }) => text.endsWith(':1'));
    first?.release();
    expect((await takeName(service)).text).toBe(first?.text);
  });

  test('are free again when their process was killed', async () => {
    const processname = `p-${process.pid}`;
    const taker = fileURLToPath(new URL('support/name-taker.ts', import.meta.url));
    const child = spawn(process.execPath, [...runTypeScript, taker, processname], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [text] = await once(child.stdout.setEncoding('utf8'), 'data');
    expect(text).toBe(`dies:${processname}:1\n`);
    const service = { use_queue_manager: true, hostname: 'dies', processname };
    expect((await takeName(service)).text).toBe(`dies:${processname}:2`);
    child.kill('SIGKILL');
    await once(child, 'close');
    expect((await takeName(service)).text).toBe(`dies:${processname}:1`);
  });
});

test('targets', () => {
  const target = new Target({ topic: 't', version: '1.1' });
  expect(target.with({ server: 's', topic: undefined })).toEqual(
    new Target({ topic: 't', version: '1.1', server: 's' }),
  );
  expect(() => new Target({ topic: '' })).toThrow('topic');
  expect(() => new Target({ version: '1' })).toThrow('version');
  expect(() => new Target({ tropic: 't' } as never)).toThrow("did you mean 'topic'?");
});
