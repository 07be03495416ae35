import { describe, expect, test } from 'vitest';
import { InvalidArgumentError } from '../../src/errors.js';
import type { ConnectionParameters } from '../../src/transport/contract.js';
import { amqpOptions, clientParameters } from '../../src/transports/amqp/options.js';
import { tlsOptions } from '../../src/transports/amqp/tls.js';

function parameters(change: Partial<ConnectionParameters> = {}): ConnectionParameters {
  return {
    transport: 'amqp',
    hostname: 'h',
    port: 1234,
    userid: 'u',
    password: 'p',
    virtualHost: '/v',
    ssl: false,
    connectTimeout: 5000,
    heartbeat: 60_000,
    loginMethod: undefined,
    transportOptions: {},
    ...change,
  };
}

const withOptions = (transportOptions: Record<string, unknown>) => clientParameters(parameters({ transportOptions }));

describe('parameters of the client', () => {
  test('host, credentials, virtual host and durations', () => {
    expect(clientParameters(parameters())).toMatchObject({
      ...{ hostname: 'h', port: 1234, username: 'u', password: 'p', vhost: '/v' },
      ...{ heartbeat: 60_000, connectTimeout: 5000, tls: undefined, mechanism: undefined },
    });
    expect(clientParameters(parameters({ virtualHost: undefined, hostname: undefined }))).toMatchObject({
      vhost: '/',
      hostname: 'localhost',
    });
  });

  test('options of py-amqp and pika, in seconds, as numbers and as the text of a URL', () => {
    for (const as of [(value: number) => value, String]) {
      expect(
        withOptions({
          read_timeout: as(2.5),
          channel_max: as(7),
          frame_max: as(8192),
          locale: 'de_DE',
          connection_name: 'me & you',
          blocked_connection_timeout: as(3),
        }),
      ).toMatchObject({
        ...{ rpcTimeout: 2500, channelMax: 7, frameMax: 8192, locale: 'de_DE', connectionName: 'me & you' },
        blockedTimeout: 3000,
      });
    }
  });

  test('client properties, as an object or the text of a dictionary', () => {
    const properties = { capabilities: { 'connection.blocked': true }, connection_name: 'x' };
    expect(withOptions({ client_properties: properties }).clientProperties).toEqual(properties);
    expect(withOptions({ client_properties: JSON.stringify(properties) }).clientProperties).toEqual(properties);
    expect(() => withOptions({ client_properties: 5 })).toThrow(InvalidArgumentError);
  });

  test('login: the option login_method goes before that of the connection, authentication before both', () => {
    expect(clientParameters(parameters({ loginMethod: 'AMQPLAIN' })).mechanism).toBe('AMQPLAIN');
    const both = parameters({ loginMethod: 'AMQPLAIN', transportOptions: { login_method: 'EXTERNAL' } });
    expect(clientParameters(both).mechanism).toBe('EXTERNAL');
    const own = { name: 'OWN', start: () => '' };
    expect(withOptions({ login_method: 'PLAIN', authentication: [own] }).mechanism).toEqual([own]);
  });

  test("socket settings: keep-alive by py-amqp's names and numbers", () => {
    expect(withOptions({ socket_settings: { TCP_KEEPIDLE: 30 } }).keepAlive).toBe(30_000);
    expect(withOptions({ socket_settings: { 4: 30, 18: 1000 } }).keepAlive).toBe(30_000);
    expect(withOptions({ socket_settings: { SO_KEEPALIVE: 0 } }).keepAlive).toBe(false);
    expect(withOptions({ tcp_options: { TCP_KEEPIDLE: 45 } }).keepAlive).toBe(45_000);
    expect(() => withOptions({ socket_settings: 3 })).toThrow(InvalidArgumentError);
  });

  test('values of the wrong kind are refused by name', () => {
    expect(() => withOptions({ channel_max: 'many' })).toThrow(/channel_max/);
    expect(() => withOptions({ read_timeout: -1 })).toThrow(/read_timeout/);
    expect(() => amqpOptions(parameters({ transportOptions: { on_blocked: 'yes' } }))).toThrow(/on_blocked/);
    expect(() => amqpOptions(parameters({ transportOptions: { delayed_delivery_queue_type: 'quorom' } }))).toThrow(
      /did you mean 'quorum'/,
    );
    expect(amqpOptions(parameters({ transportOptions: { write_timeout: '2' } })).writeTimeout).toBe(2000);
  });
});

describe('TLS', () => {
  const tls = (ssl: ConnectionParameters['ssl'], transport = 'amqp') => tlsOptions(parameters({ ssl, transport }));

  test('off, on, and by the scheme', () => {
    expect(tls(false)).toBeUndefined();
    expect(tls(true)).toBe(true);
    expect(tls(false, 'amqps')).toBe(true);
  });

  test("Kombu's keys of URLs and py-amqp's of dictionaries mean the same", () => {
    const expected = {
      ...{ caFile: '/ca.pem', certFile: '/c.pem', keyFile: '/k.pem', passphrase: 's' },
      ...{ rejectUnauthorized: true, servername: 'broker', ciphers: 'A:B', minVersion: 'TLSv1.2' },
    };
    const url = {
      ...{ ssl_ca_certs: '/ca.pem', ssl_certfile: '/c.pem', ssl_keyfile: '/k.pem', ssl_password: 's' },
      ...{ ssl_cert_reqs: 'required', ssl_server_hostname: 'broker', ssl_ciphers: 'A:B', ssl_min_version: 'TLSv1_2' },
    };
    const dictionary = {
      ...{ ca_certs: '/ca.pem', certfile: '/c.pem', keyfile: '/k.pem', password: 's' },
      ...{ cert_reqs: 2, server_hostname: 'broker', ciphers: 'A:B', tls_minimum_version: 'TLSv1_2' },
    };
    expect(tls(url)).toMatchObject(expected);
    expect(tls(dictionary)).toMatchObject(expected);
    expect(tls({ context: { cafile: '/ca.pem' }, cert_reqs: 'CERT_NONE' })).toMatchObject({
      caFile: '/ca.pem',
      rejectUnauthorized: false,
    });
  });

  test('verification is on unless it is switched off', () => {
    expect(tls({ ssl_cert_reqs: 'none' })).toMatchObject({ rejectUnauthorized: false });
    expect(tls({})).not.toHaveProperty('rejectUnauthorized');
    expect(tls({ ssl_check_hostname: false })).toHaveProperty('checkServerIdentity');
    expect(tls({ ssl_check_hostname: true })).not.toHaveProperty('checkServerIdentity');
  });

  test("Node's own options pass as they are", () => {
    const ca = Buffer.from('x');
    expect(tls({ ca, rejectUnauthorized: false, minVersion: 'TLSv1.3' })).toEqual({
      ca,
      rejectUnauthorized: false,
      minVersion: 'TLSv1.3',
    });
    expect(tls({ ssl_ca_data: 'PEM' })).toEqual({ ca: 'PEM' });
  });

  test('an option that nobody knows is refused with the nearest', () => {
    expect(() => tls({ ssl_cacerts: '/x' })).toThrow(/'ssl_cacerts' is not known \(did you mean 'ssl_ca_certs'\?\)/);
    expect(() => tls({ rejectUnauthorised: true })).toThrow(/rejectUnauthorized/);
    expect(() => tls({ cert_reqs: 'sometimes' })).toThrow(/cert_reqs/);
  });
});
