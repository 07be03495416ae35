import { describe, expect, test } from 'vitest';
import { Connection } from 'wakame';
import { redisSettings } from '../../src/transports/redis/options.js';
import { tlsOptions } from '../../src/util/tls.js';
import { parametersOf } from '../virtual/harness.js';

/** As the driver gets them from a Connection. */
const settings = (transportOptions: Record<string, unknown> = {}, rest: Record<string, unknown> = {}) =>
  redisSettings({ ...parametersOf('host'), transport: 'redis', transportOptions, ...rest }, 30_000);

describe('what is not said', () => {
  test('is as in Kombu', () => {
    expect(settings()).toMatchObject({
      host: 'host',
      port: 6379,
      db: 0,
      prefix: '',
      separator: '\x06\x16',
      unackedKey: 'unacked',
      unackedIndexKey: 'unacked_index',
      mutexKey: 'unacked_mutex',
      mutexExpire: 300_000,
      visibilityTimeout: 3_600_000,
      restoreInterval: 10_000,
      steps: [0, 3, 6, 9],
      highestFirst: false,
      weighted: false,
      fanoutPrefix: '/0.',
      fanoutPatterns: true,
      bodyEncoding: 'base64',
      healthCheckInterval: 25_000,
      lease: 30_000,
      implicitQueues: 'replies',
    });
  });
});

describe('values, as they stand in a URL or in an object', () => {
  test.each([
    [{ visibility_timeout: '120' }, { visibilityTimeout: 120_000 }],
    [{ priority_steps: '9,0,5,5' }, { steps: [0, 5, 9] }],
    [{ priority_steps: [0, 1] }, { steps: [0, 1] }],
    [{ fanout_prefix: false }, { fanoutPrefix: '' }],
    [{ fanout_prefix: 'true' }, { fanoutPrefix: '/2.' }],
    [{ fanout_prefix: '/{db}/mine.' }, { fanoutPrefix: '/2/mine.' }],
    [{ fanout_patterns: 'no' }, { fanoutPatterns: false }],
    [{ body_encoding: null }, { bodyEncoding: 'utf-8' }],
    [{ socket_keepalive: false }, { keepAlive: undefined }],
    [{ socket_keepalive_options: { TCP_KEEPIDLE: 7 } }, { keepAlive: 7000 }],
    [{ unacked_restore_limit: '5' }, { restoreLimit: 5 }],
    [{ lease: '1.5' }, { lease: 1500 }],
    [{ health_check_interval: 0 }, { healthCheckInterval: 0 }],
    [{ socket_timeout: null }, { answerTimeout: 10_000 }],
  ])('%j', (given, expected) => {
    expect(settings(given, { virtualHost: '2' })).toMatchObject(expected);
  });

  test.each([
    [{ priority_steps: [10] }, 'priority_steps'],
    [{ priority_steps: '' }, 'priority_steps'],
    [{ priority_order: 'reverse' }, 'priority_order'],
    [{ priority_polling: 'fair' }, 'priority_polling'],
    [{ implicit_queues: true }, 'implicit_queues'],
    [{ fanout_prefix: 'mine' }, 'fanout_prefix'],
    [{ fanout_patterns: 'maybe' }, 'fanout_patterns'],
    [{ visibility_timeout: 0 }, 'visibility_timeout'],
    [{ lease: -1 }, 'lease'],
    [{ unacked_restore_limit: 1.5 }, 'unacked_restore_limit'],
    [{ sep: '' }, 'sep'],
    [{ body_encoding: 'latin-1' }, 'body_encoding'],
    [{ global_keyprefix: 5 }, 'global_keyprefix'],
    [{ socket_keepalive_options: 'TCP' }, 'socket_keepalive_options'],
  ])('%j is refused by its name', (given, name) => {
    expect(() => settings(given)).toThrow(name);
  });
});

describe('databases, sockets and sentinels', () => {
  test.each([
    [undefined, 0],
    ['/', 0],
    ['/3', 3],
    ['//4', 4],
    ['5', 5],
  ])('virtual host %j is database %i', (virtualHost, db) => {
    expect(settings({}, { virtualHost })).toMatchObject({ db });
  });

  test('a database is a number', () => {
    expect(() => settings({}, { virtualHost: '/celery' })).toThrow('celery');
  });

  test('a Unix socket, with credentials and a database', () => {
    const hostname = 'socket://user:pa%3Ass@/var/run/redis%20one.sock?virtual_host=7';
    expect(settings({}, { hostname })).toMatchObject({
      path: '/var/run/redis one.sock',
      username: 'user',
      password: 'pa:ss',
      db: 7,
    });
    expect(() => settings({}, { hostname: 'socket://relative.sock' })).toThrow('absolute');
    expect(() => settings({}, { hostname: 'socket:///a.sock?virtualhost=7' })).toThrow('virtual_host');
  });

  test('a sentinel', () => {
    const given = {
      master_name: 'mymaster',
      min_other_sentinels: 1,
      sentinel_kwargs: { password: 'secret', ssl_ca_certs: '/ca.pem' },
    };
    expect(settings(given, { transport: 'sentinel' })).toMatchObject({
      port: 26_379,
      sentinel: { masterName: 'mymaster', minOtherSentinels: 1, password: 'secret', ssl: { ssl_ca_certs: '/ca.pem' } },
    });
    expect(() => settings({}, { transport: 'sentinel' })).toThrow('master_name');
    const wrong = { master_name: 'm', sentinel_kwargs: { pasword: 'x' } };
    expect(() => settings(wrong, { transport: 'sentinel' })).toThrow("'pasword'");
  });

  test('rediss cannot be told to speak in the clear', () => {
    expect(settings({}, { transport: 'rediss', ssl: false })).toMatchObject({ ssl: true });
  });
});

describe('TLS', () => {
  test('verifies, with the name of the host', () => {
    expect(tlsOptions(true, 'redis.example')).toEqual({ servername: 'redis.example' });
    expect(tlsOptions(true, '10.0.0.1')).toEqual({ servername: '' });
  });

  test('by the names of redis-py', () => {
    expect(tlsOptions({ ssl_cert_reqs: 'none' }, 'h')).toMatchObject({ rejectUnauthorized: false });
    expect(tlsOptions({ ssl_cert_reqs: 'CERT_REQUIRED' }, 'h')).not.toHaveProperty('rejectUnauthorized');
    expect(tlsOptions({ ssl_min_version: 'TLSv1_3' }, 'h')).toMatchObject({ minVersion: 'TLSv1.3' });
    expect(tlsOptions({ ssl_check_hostname: false }, 'h').checkServerIdentity?.('h', {} as never)).toBeUndefined();
    expect(() => tlsOptions({ ssl_cert_reqs: 'maybe' }, 'h')).toThrow('maybe');
    expect(() => tlsOptions({ ssl_ca_cert: '/x' }, 'h')).toThrow('ssl_ca_certs');
    expect(() => tlsOptions({ ssl_ca_certs: '/nowhere.pem' }, 'h')).toThrow('/nowhere.pem');
  });
});

test('an option that nobody knows is refused before anything is sent', async () => {
  const connection = new Connection('redis://localhost:1/0?visibility_timout=5');
  await expect(connection.connect()).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    message: expect.stringContaining('visibility_timeout'),
  });
  await connection.close();
});
