import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ConnectionParameters, connect, InvalidArgumentError, parseUrl } from '../src/index.js';
import { nearest } from '../src/nearest.js';
import { mergeParameters, resolveParameters } from '../src/parameters.js';
import { parseLiteral } from '../src/python-literal.js';

function problem(act: () => unknown): InvalidArgumentError {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidArgumentError);
    return error as InvalidArgumentError;
  }
  throw new Error('nothing was thrown');
}

describe('parseUrl', () => {
  it('takes all parts apart', () => {
    expect(parseUrl('amqp://alice:s3cret@rabbit1:5673/web_messages')).toEqual({
      hostname: 'rabbit1',
      port: 5673,
      username: 'alice',
      password: 's3cret',
      vhost: 'web_messages',
    });
  });

  it('leaves open what is not there', () => {
    expect(parseUrl('amqp://')).toEqual({ vhost: '/' });
    expect(parseUrl('amqp://user@')).toEqual({ username: 'user', vhost: '/' });
    expect(parseUrl('AMQP://HOST')).toEqual({ hostname: 'host', vhost: '/' });
  });

  it.each([
    ['amqp://h', '/'],
    ['amqp://h/', '/'],
    ['amqp://h//', '/'],
    ['amqp://h/%2F', '/'],
    ['amqp://h/%2f', '/'],
    ['amqp://h/foo', 'foo'],
    ['amqp://h//foo', '/foo'],
    ['amqp://h/%2Ffoo', '/foo'],
    ['amqp://h/a/b', 'a/b'],
    ['amqp://h/caf%C3%A9', 'café'],
    ['amqp://h?heartbeat=5', '/'],
  ])('%s has vhost %s', (url, vhost) => {
    expect(parseUrl(url).vhost).toBe(vhost);
  });

  it('decodes percent-encoding in user, password and host', () => {
    expect(parseUrl('amqp://u%40x:p%3A%2F%40@h%2Dx')).toMatchObject({
      username: 'u@x',
      password: 'p:/@',
      hostname: 'h-x',
    });
  });

  it('splits the user at the first colon and the host at the last @', () => {
    expect(parseUrl('amqp://u:p:q@r@host')).toMatchObject({ username: 'u', password: 'p:q@r', hostname: 'host' });
  });

  it('takes IPv6 addresses in brackets', () => {
    expect(parseUrl('amqp://[::1]:5673/v')).toEqual({ hostname: '[::1]', port: 5673, vhost: 'v' });
    expect(resolveParameters(parseUrl('amqp://[fe80::1]')).hostname).toBe('fe80::1');
  });

  it('round-trips any user, password and vhost that is percent-encoded', () => {
    const encodable = fc.string({ unit: 'grapheme' }).filter((text) => text.isWellFormed());
    fc.assert(
      fc.property(encodable, encodable, encodable, (username, password, vhost) => {
        fc.pre(username !== '' && vhost !== '');
        const parts = [username, password, vhost].map(encodeURIComponent);
        expect(parseUrl(`amqp://${parts[0]}:${parts[1]}@h/${parts[2]}`)).toEqual({
          hostname: 'h',
          username,
          password,
          vhost,
        });
      }),
    );
  });

  it('turns TLS and its port on for amqps', () => {
    expect(parseUrl('amqps://h').tls).toBe(true);
    expect(resolveParameters(parseUrl('amqps://h'))).toMatchObject({ port: 5671, tls: {} });
    expect(resolveParameters(parseUrl('amqp://h'))).toMatchObject({ port: 5672, tls: undefined });
  });

  it.each([
    ['http://h', "unknown scheme 'http'"],
    ['amqpss://h', "did you mean 'amqps'"],
    ['h:5672', 'must look like'],
    ['', 'must look like'],
    ['amqp://h:port', 'the port is not a number'],
    ['amqp://h:0', 'the port is not a number'],
    ['amqp://h:65536', 'the port is not a number'],
    ['amqp://h#x', "'#' must be written %23"],
    ['amqp://h?heartbeat', "'heartbeat' has no value"],
    ['amqp://h?heartbeet=5', "did you mean 'heartbeat'"],
    ['amqp://h?heartbeat=5&heartbeat=6', "'heartbeat' is given twice"],
    ['amqp://h?heartbeat=-5', "'heartbeat' is not a duration in seconds"],
    ['amqp://h?heartbeat=1e9', "'heartbeat' is not a duration in seconds"],
    ['amqp://h?frame_max=big', "'frame_max' is not a whole number"],
    ['amqp://%zz@h', 'malformed percent-encoding in the user name'],
    ['amqp://h?verify=maybe', "'verify' needs TLS"],
    ['amqps://h?verify=maybe', "'verify' is none of"],
    ['amqps://h?ssl=0', 'contradicts'],
    ['amqps://h?ssl_options=None', 'contradicts'],
    ['amqp://h?ssl=perhaps', 'neither true nor false'],
    ['amqp://h?client_properties=[1]', 'is not a dictionary'],
    ['amqp://h?client_properties={', 'not a Python or JSON literal'],
    ["amqp://h?tcp_options={'TCP_KEEPIDEL':1}", "did you mean 'TCP_KEEPIDLE'"],
    ["amqp://h?ssl_options={'certfil':'x'}", "did you mean 'certfile'"],
  ])('refuses %s', (url, message) => {
    const error = problem(() => parseUrl(url));
    expect(error.code).toBe('INVALID_URL');
    expect(error.message).toContain(message);
  });

  it.each([
    'amqp://u:hunter2@h:port',
    'amqp://u:hunter2@h#x',
    'amqp://u:hunter2%zz@h',
    'amqp://u:hunter2@h?x=1',
    'foo://u:hunter2@h',
    'amqps://h?password=hunter2&passwort=1',
    "amqps://h?ssl_options={'password':'hunter2'",
  ])('does not quote the password of %s', (url) => {
    const error = problem(() => parseUrl(url));
    expect(error.message).not.toContain('hunter2');
    expect(String((error.cause as Error | undefined)?.message)).not.toContain('hunter2');
  });
});

describe('query keys', () => {
  beforeEach(() => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it('takes every key of pika, in seconds', () => {
    const properties = encodeURIComponent("{'product': 'mine', 'capabilities': {'basic.nack': True}, 'n': None}");
    const url =
      'amqp://h/v?backpressure_detection=t&blocked_connection_timeout=1.5&channel_max=7&connection_attempts=3' +
      `&frame_max=8192&heartbeat=30&locale=de_DE&retry_delay=.25&socket_timeout=2&stack_timeout=9` +
      `&client_properties=${properties}&tcp_options=${encodeURIComponent("{'TCP_KEEPIDLE': 20}")}`;
    expect(parseUrl(url)).toEqual({
      hostname: 'h',
      vhost: 'v',
      blockedTimeout: 1500,
      channelMax: 7,
      connectionAttempts: 3,
      frameMax: 8192,
      heartbeat: 30_000,
      locale: 'de_DE',
      retryDelay: 250,
      connectTimeout: 9000,
      clientProperties: { product: 'mine', capabilities: { 'basic.nack': true }, n: null },
      keepAlive: 20_000,
    });
    expect(process.emitWarning).toHaveBeenCalledWith(
      expect.stringContaining("'backpressure_detection' in an AMQP URL has no effect"),
      expect.anything(),
    );
  });

  it("takes pika's ssl_options", () => {
    const options = encodeURIComponent(
      "{'ca_certs': '/ca.pem', 'certfile': '/c.pem', 'keyfile': '/k.pem', 'password': 'pw', 'server_hostname': 'name', " +
        "'verify_mode': 2, 'ciphers': 'HIGH', 'ssl_version': 5}",
    );
    expect(parseUrl(`amqp://h?ssl_options=${options}`).tls).toEqual({
      caFile: '/ca.pem',
      certFile: '/c.pem',
      keyFile: '/k.pem',
      passphrase: 'pw',
      servername: 'name',
      rejectUnauthorized: true,
      ciphers: 'HIGH',
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
    });
    expect(parseUrl('amqp://h?ssl_options=None').tls).toBe(false);
  });

  it("takes RabbitMQ's keys; connection_timeout is in milliseconds", () => {
    expect(
      parseUrl(
        'amqps://h?auth_mechanism=external&auth_mechanism=plain&connection_timeout=10000&cacertfile=/ca&certfile=/c' +
          '&keyfile=/k&password=pw&verify=verify_none&server_name_indication=disable',
      ),
    ).toEqual({
      hostname: 'h',
      vhost: '/',
      mechanism: ['EXTERNAL', 'PLAIN'],
      connectTimeout: 10_000,
      tls: {
        caFile: '/ca',
        certFile: '/c',
        keyFile: '/k',
        passphrase: 'pw',
        rejectUnauthorized: false,
        servername: '',
      },
    });
  });

  it("takes Kombu's keys", () => {
    expect(parseUrl('amqp://h?ssl=1').tls).toEqual({});
    expect(
      parseUrl('amqp://h?ssl_ca_certs=/ca&ssl_cert_reqs=CERT_REQUIRED&connect_timeout=3&login_method=amqplain'),
    ).toMatchObject({
      tls: { caFile: '/ca', rejectUnauthorized: true },
      connectTimeout: 3000,
      mechanism: ['AMQPLAIN'],
    });
    const { tls } = parseUrl('amqp://h?ssl_check_hostname=false');
    expect(tls).toMatchObject({ checkServerIdentity: expect.any(Function) });
  });

  it('keeps a + in a query value a space, as parse_qs does, and a %2B a plus', () => {
    expect(parseUrl('amqp://h?connection_name=a+b%2Bc').connectionName).toBe('a b+c');
  });
});

describe('parameters', () => {
  it('fills in the defaults', () => {
    expect(resolveParameters({})).toEqual({
      hostname: 'localhost',
      port: 5672,
      username: 'guest',
      password: 'guest',
      vhost: '/',
      tls: undefined,
      mechanisms: [expect.objectContaining({ name: 'PLAIN' }), expect.objectContaining({ name: 'AMQPLAIN' })],
      frameMax: 131_072,
      channelMax: 2047,
      heartbeat: 60_000,
      connectTimeout: 5000,
      rpcTimeout: 10_000,
      closeTimeout: 10_000,
      blockedTimeout: 0,
      maxBodyBytes: 134_217_728,
      keepAlive: 60_000,
      locale: 'en_US',
      clientProperties: {},
      connectionName: undefined,
      connectionAttempts: 1,
      retryDelay: 2000,
    });
  });

  it.each([
    [{ heartbeat: 60 }, '60000 is probably meant'],
    [{ heartbeat: 999 }, '999000 is probably meant'],
    [{ heartbeat: 70_000_000 }, '70000000'],
    [{ frameMax: 4095 }, '4095'],
    [{ channelMax: 65_536 }, '65536'],
    [{ port: 0 }, 'port'],
    [{ port: '5672' as unknown as number }, '5672'],
    [{ connectTimeout: -1 }, 'connectTimeout'],
    [{ rpcTimeout: Number.POSITIVE_INFINITY }, 'rpcTimeout'],
    [{ hostname: 'a;b' }, 'hostname'],
    [{ vhost: 'v'.repeat(256) }, 'vhost'],
    [{ mechanism: 'PLAN' }, "did you mean 'PLAIN'"],
    [{ mechanism: [] }, 'at least one'],
    [{ hearbeat: 1 } as object, "did you mean 'heartbeat'"],
    [{ password: 5 as unknown as string }, 'password'],
  ])('refuses %o', (given, message) => {
    const error = problem(() => resolveParameters(given));
    expect(error.code).toBe('INVALID_ARGUMENT');
    expect(error.message).toContain(message);
  });

  it('rounds a heartbeat up to seconds, and takes 0 as none', () => {
    expect(resolveParameters({ heartbeat: 1500 }).heartbeat).toBe(2000);
    expect(resolveParameters({ heartbeat: 0 }).heartbeat).toBe(0);
  });

  it('prefers EXTERNAL when a certificate is all that is given', () => {
    const names = (given: object) => resolveParameters(given).mechanisms.map(({ name }) => name);
    expect(names({ tls: { certFile: 'c' } })).toEqual(['EXTERNAL', 'PLAIN', 'AMQPLAIN']);
    expect(names({ tls: { certFile: 'c' }, username: 'u' })).toEqual(['PLAIN', 'AMQPLAIN']);
  });

  it('are merged: a target first, then the options, and so TLS options', () => {
    const merge = (first: ConnectionParameters, second: ConnectionParameters) => mergeParameters(first, second);
    expect(merge({ vhost: 'a', username: undefined }, { vhost: 'b', username: 'u' })).toEqual({
      vhost: 'a',
      username: 'u',
    });
    expect(merge({ tls: true }, { tls: { ca: 'c' } }).tls).toEqual({ ca: 'c' });
    expect(merge({ tls: { cert: 'x', ca: 'y' } }, { tls: { ca: 'c', key: 'k' } }).tls).toEqual({
      cert: 'x',
      ca: 'y',
      key: 'k',
    });
    expect(merge({ tls: false }, { tls: { ca: 'c' } }).tls).toBe(false);
    expect(merge({}, { tls: { ca: 'c' } }).tls).toEqual({ ca: 'c' });
    expect(merge({ tls: true }, { tls: false }).tls).toBe(true);
  });

  it('are checked before anything is tried', async () => {
    await expect(connect(['amqp://127.0.0.1:1', 'ampq://x'])).rejects.toMatchObject({ code: 'INVALID_URL' });
    await expect(connect([])).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('parseLiteral', () => {
  it('reads Python and JSON', () => {
    expect(
      parseLiteral(` {'a': [1, -2.5e3, (True, None,),], "b": {"c": false, 'd\\n\\x41\\u00e9': "it's"},} `),
    ).toEqual(
      new Map<string, unknown>([
        ['a', [1, -2500, [true, null]]],
        [
          'b',
          new Map<string, unknown>([
            ['c', false],
            ['d\nA\u00e9', "it's"],
          ]),
        ],
      ]),
    );
  });

  it('reads whatever JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null))), (list) => {
        expect(parseLiteral(JSON.stringify(list))).toEqual(list);
      }),
    );
  });

  it.each(['', '{', "'", '[1 2]', '{1: 2}', '{"a" 1}', 'foo', '1 2', "'\\q'", '['.repeat(20)])('refuses %s', (text) => {
    expect(() => parseLiteral(text)).toThrow(/not a Python or JSON literal.*offset/);
  });
});

describe('nearest', () => {
  it('finds what was probably meant, and nothing for what is far', () => {
    expect(nearest('hertbeat', ['heartbeat', 'frame_max'])).toBe('heartbeat');
    expect(nearest('zzzzzz', ['heartbeat', 'frame_max'])).toBeUndefined();
  });
});
