/** URLs and options of oslo.messaging, and what follows from them. */
import { parseTransportUrl, Target, Transport } from '@wakame/oslo';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Connection, type Queue } from 'wakame';
import { osloSettings } from '../src/options.ts';
import { Topology } from '../src/topology.ts';

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

  test('what cannot be', () => {
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
    expect(shape(topology.fanoutQueue('t'))).toMatchObject({
      name: 't_fanout_ID',
      durable: false,
      autoDelete: false,
      queueArguments: { 'x-expires': 1_800_000 },
    });
    const reply = topology.replyQueue();
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
    expect(shape(durable.replyQueue())).toMatchObject({ durable: false, queueArguments: {} });
    const quorum = new Topology(
      osloSettings({ rabbit_quorum_queue: true, rabbit_transient_quorum_queue: true, rabbit_quorum_delivery_limit: 5 }),
    );
    const args = { 'x-queue-type': 'quorum', 'x-delivery-limit': 5 };
    expect(shape(quorum.topicQueue(undefined, 't'))).toMatchObject({ durable: true, queueArguments: args });
    expect(shape(quorum.fanoutQueue('t'))).toMatchObject({ durable: true, queueArguments: args });
    expect(quorum.fanout('t')).toMatchObject({ durable: true });
    const ha = new Topology(osloSettings({ rabbit_ha_queues: true }));
    expect(shape(ha.topicQueue(undefined, 't'))).toMatchObject({ queueArguments: { 'x-ha-policy': 'all' } });
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
