import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { InvalidArgumentError, InvalidUrlError } from '../../src/errors.js';
import { asUrl, maybeSanitizeUrl, type ParsedUrl, parseUrl, parseUrls, sanitizeUrl } from '../../src/url/index.js';
import { secondsToMs } from '../../src/util/seconds.js';
import { resetWarnings } from '../../src/util/warnings.js';
import { golden } from '../golden/read.js';

interface KombuUrl {
  readonly transport: string;
  readonly hostname: string | null;
  readonly port: number | null;
  readonly userid: string | null;
  readonly password: string | null;
  readonly virtual_host: string | null;
  readonly ssl?: Record<string, unknown>;
}

const nothing: ParsedUrl = {
  transport: 'amqp',
  hostname: undefined,
  port: undefined,
  userid: undefined,
  password: undefined,
  virtualHost: undefined,
  ssl: undefined,
  options: {},
  uriPrefix: undefined,
};

describe('as Kombu 5.6.2 reads', () => {
  test.each(golden<{ url: string; parsed?: KombuUrl }>('url.json'))('$url', ({ url, parsed }) => {
    if (parsed === undefined) {
      expect(() => parseUrl(url)).toThrow(InvalidUrlError);
      return;
    }
    const { transport, hostname, port, userid, password, virtual_host, ssl, ...options } = parsed;
    const requirement = ssl?.['ssl_cert_reqs'];
    expect(parseUrl(url)).toEqual({
      transport,
      hostname: hostname ?? undefined,
      port: port ?? undefined,
      userid: userid ?? undefined,
      password: password ?? undefined,
      virtualHost: virtual_host ?? undefined,
      ssl:
        typeof requirement === 'string'
          ? { ...ssl, ssl_cert_reqs: requirement.replace('CERT_', '').toLowerCase() }
          : ssl,
      options,
      uriPrefix: undefined,
    });
  });
});

describe('one URL', () => {
  test.each([
    ['localhost', { hostname: 'localhost' }],
    ['Localhost:5673', { hostname: 'localhost', port: 5673 }],
    ['[::1]:5673', { hostname: '::1', port: 5673 }],
    ['::1', { hostname: '::1' }],
    ['my_host', { hostname: 'my_host' }],
  ])('a bare host: %s', (url, expected) => {
    expect(parseUrl(url)).toEqual({ ...nothing, ...expected });
    expect(parseUrl(url, { defaultTransport: 'redis' }).transport).toBe('redis');
  });

  test.each([
    ['redis+socket:///tmp/r.sock?virtual_host=1', 'redis', 'socket:///tmp/r.sock?virtual_host=1'],
    ['sqla+postgresql+psycopg2://u:p@h/db', 'sqla', 'postgresql+psycopg2://u:p@h/db'],
    ['mongodb+srv://u:p@h/db?x=1;y=2', 'mongodb', 'srv://u:p@h/db?x=1;y=2'],
  ])('prefix+rest is kept to the letter: %s', (url, transport, hostname) => {
    const parsed = parseUrl(url);
    expect(parsed).toEqual({ ...nothing, transport, hostname, uriPrefix: transport });
    expect(asUrl(parsed, { includePassword: true })).toBe(url);
  });

  test.each(['sqlite:orders.db', 'sqlite:///var/lib/orders.db', 'sqlite::memory:', 'SQLite:./a b?x=%20#y'])(
    'a transport that reads its URL itself gets the whole: %s',
    (url) => {
      const parsed = parseUrl(url, { wholeUrl: (scheme) => scheme === 'sqlite' });
      expect(parsed).toEqual({ ...nothing, transport: 'sqlite', hostname: url });
    },
  );

  test('a host that is called like such a transport is still a host', () => {
    expect(parseUrl('sqlite:5673', { wholeUrl: () => true })).toEqual({ ...nothing, hostname: 'sqlite', port: 5673 });
  });

  test.each([
    ['amqp://h?ssl=1', true],
    ['amqp://h?ssl=true', true],
    ['amqp://h?ssl=0', false],
    ['amqp://h?ssl_tls_minimum_version=TLSv1_3', { ssl_tls_minimum_version: 'TLSv1_3' }],
    ['amqp://h', undefined],
    ['amqp://h?ssl=1&ssl_ca_certs=/ca.pem', { ssl_ca_certs: '/ca.pem' }],
    [
      'amqp://h?ssl_cert_reqs=CERT_OPTIONAL&ssl_check_hostname=0',
      { ssl_cert_reqs: 'optional', ssl_check_hostname: false },
    ],
  ])('%s', (url, ssl) => {
    expect(parseUrl(url).ssl).toEqual(ssl);
  });

  test.each([
    [''],
    ['amqp:/h'],
    ['h/vhost'],
    ['user:password@h'],
    ['a b'],
    ['amqp://h:0'],
    ['amqp://h:65536'],
    ['amqp://h:1:2'],
    ['amqp://::1/'],
    ['amqp://[h]/'],
    ['amqp://[::1/'],
    ['amqp://h]/'],
    ['amqp://h/v#part'],
    ['amqp://h/\n'],
    ['amqp://u:%ff@h'],
    ['amqp://a;amqp://b'],
    ['amqp://h?ssl'],
    ['amqp://h?heartbeat='],
    ['amqp://h?ssl=maybe'],
    ['amqp://h?ssl=0&ssl_ca_certs=x'],
    ['amqp://h?ssl_ca_cert=x'],
    ['amqp://h?virtual_host=v'],
    ['amqp://h?password=x'],
  ])('refuses %j', (url) => {
    expect(() => parseUrl(url)).toThrow(expect.objectContaining({ code: 'INVALID_URL' }));
  });

  test("pika's ssl_options is its transport's to read, and not for everybody's eyes", () => {
    const url = "amqp://h?ssl_options={'password':'geheim'}";
    expect(parseUrl(url)).toMatchObject({ ssl: undefined, options: { ssl_options: "{'password':'geheim'}" } });
    expect(sanitizeUrl(url)).toBe('amqp://h?ssl_options=**');
  });

  test('the vhost forms', () => {
    const vhosts = [
      'amqp://h',
      'amqp://h/',
      'amqp://h//',
      'amqp://h/%2F',
      'amqp://h//foo',
      'amqp://h/%2Ffoo',
      'amqp://h/foo',
    ];
    expect(vhosts.map((url) => parseUrl(url).virtualHost)).toEqual([
      undefined,
      undefined,
      '/',
      '/',
      '/foo',
      '/foo',
      'foo',
    ]);
  });
});

describe('query keys', () => {
  const rules = { knownKeys: () => new Set(['visibility_timeout']) };

  test("the Connection's and the transport's are known", () => {
    const { options } = parseUrl('redis://h?heartbeat=10&visibility_timeout=30&failover_strategy=shuffle', rules);
    expect(options).toEqual({ heartbeat: '10', visibility_timeout: '30', failover_strategy: 'shuffle' });
  });

  test.each([
    ['hartbeat', 'heartbeat'],
    ['visibility_timout', 'visibility_timeout'],
    ['connecttimeout', 'connect_timeout'],
  ])('%s: did you mean %s', (key, meant) => {
    expect(() => parseUrl(`redis://h?${key}=1`, rules)).toThrow(new RegExp(`'${key}'.*'${meant}'`));
  });

  test('what has no effect is accepted, and warned of once', () => {
    resetWarnings();
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    try {
      const ignoring = { ...rules, ignoredKeys: { polling_interval: 'deliveries are pushed' } };
      for (let i = 0; i < 3; i++) {
        expect(parseUrl('redis://h?insist=1&polling_interval=2&heartbeat=3', ignoring).options).toEqual({
          heartbeat: '3',
        });
      }
      expect(warn.mock.calls.map(([message]) => message)).toEqual([
        expect.stringContaining("'insist'"),
        "URL query key 'polling_interval' has no effect: deliveries are pushed",
      ]);
    } finally {
      warn.mockRestore();
    }
  });

  test('names of Object.prototype are only names', () => {
    expect(() => parseUrl('amqp://h?constructor=1', rules)).toThrow(/unknown query key 'constructor'/);
    const { options } = parseUrl('amqp://h?__proto__=1&toString=2');
    expect(Object.entries(options)).toEqual([
      ['__proto__', '1'],
      ['toString', '2'],
    ]);
  });
});

describe('several URLs', () => {
  test('joined by ; or in a list, each by itself', () => {
    const urls = ['amqp://u:p@a//x', 'amqp://b', 'redis+socket:///s'];
    const each = urls.map((url) => parseUrl(url));
    expect(parseUrls(urls.join(';'))).toEqual(each);
    expect(parseUrls(urls)).toEqual(each);
    expect(parseUrls([urls.slice(0, 2).join(';'), urls[2] as string])).toEqual(each);
  });

  test('a bare host after the first is another host of it', () => {
    const [first, second, third] = parseUrls('amqp://u:p@a:5673//x?heartbeat=3;b;[::1]:5674');
    expect(second).toEqual({ ...first, hostname: 'b', port: undefined });
    expect(third).toEqual({ ...first, hostname: '::1', port: 5674 });
  });

  test.each([[''], ['amqp://a;'], ['amqp://a;;amqp://b'], ['redis+socket:///s;b'], ['amqp://a;b/v']])(
    'refuses %j',
    (target) => {
      expect(() => parseUrls(target)).toThrow(InvalidUrlError);
    },
  );

  test('refuses none at all', () => {
    expect(() => parseUrls([])).toThrow(InvalidUrlError);
  });
});

describe('passwords', () => {
  test.each([
    ['amqp://u:secret@h:5672//v', 'amqp://u:**@h:5672//v'],
    ['amqp://:secret@h', 'amqp://:**@h'],
    ['amqp://u@h', 'amqp://u@h'],
    ['amqp://h:5672/v', 'amqp://h:5672/v'],
    ['amqp://[::1]:5672/v', 'amqp://[::1]:5672/v'],
    ['amqp://u:p@a;amqp://v:q@b;c', 'amqp://u:**@a;amqp://v:**@b;c'],
    ['mongodb+srv://u:p@h/db', 'mongodb+srv://u:**@h/db'],
    ['redis://h?password=p&ssl_password=q&heartbeat=1', 'redis://h?password=**&ssl_password=**&heartbeat=1'],
    ['u:p@h', 'u:**@h'],
    ['secret@h', '**@h'],
  ])('%s is shown as %s', (url, shown) => {
    expect(sanitizeUrl(url)).toBe(shown);
    expect(maybeSanitizeUrl(url)).toBe(shown);
  });

  test('what is no URL stays as it is', () => {
    expect(['localhost', 'sqlite:a.db', 5, undefined].map((value) => maybeSanitizeUrl(value))).toEqual([
      'localhost',
      'sqlite:a.db',
      5,
      undefined,
    ]);
  });

  // Characters that someone forgot to encode, in every place of a password.
  const awkward = fc.array(fc.constantFrom('/', '?', '#', '@', ':', ';', '%', '%zz', '[', ' ', '&', '=', 'é'), {
    minLength: 1,
    maxLength: 4,
  });
  const secret = fc
    .tuple(fc.constant('Geheim'), awkward, fc.constant('Wort'))
    .map(([a, marks, b]) => a + marks.join('') + b);

  test('never appear in errors, however badly they are written', () => {
    fc.assert(
      fc.property(secret, fc.constantFrom('', ':5672', ':0', '/v', '/v?nothing=1', '//'), (password, rest) => {
        for (const parse of [parseUrl, parseUrls]) {
          try {
            parse(`amqp://user:${password}@host${rest}`, { knownKeys: () => new Set() });
          } catch (error) {
            expect(error).toBeInstanceOf(InvalidUrlError);
            expect((error as Error).message).not.toMatch(/Geheim|Wort/);
          }
        }
      }),
      { numRuns: 1000 },
    );
  });

  test('asUrl hides them unless it is asked for them', () => {
    const parsed = parseUrl('redis://u:secret@h:6379/1?token=t&heartbeat=2&ssl_password=x');
    expect(asUrl(parsed)).toBe('redis://u:**@h:6379/1?token=**&heartbeat=2&ssl_password=**');
    expect(asUrl(parsed, { mask: '' })).toContain('redis://u:@h');
    expect(asUrl(parseUrl('redis+tcp://u:secret@h'))).toBe('redis+tcp://u:**@h');
  });
});

describe('asUrl', () => {
  const text = fc.string({ unit: 'binary', minLength: 1 }).filter((value) => value.isWellFormed());
  const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
  const parts: fc.Arbitrary<ParsedUrl> = fc.record({
    transport: fc.constantFrom('amqp', 'redis', 'x-y.z'),
    hostname: optional(
      fc.oneof(
        fc.domain().map((name) => name.toLowerCase()),
        fc.ipV4(),
        fc.ipV6().map((address) => address.toLowerCase()),
        fc.constant('my_host'),
      ),
    ),
    port: optional(fc.integer({ min: 1, max: 65_535 })),
    userid: optional(text),
    password: optional(text),
    virtualHost: optional(text),
    ssl: fc.constantFrom<(boolean | Record<string, string | boolean> | undefined)[]>(undefined, true, false, {
      ssl_cert_reqs: 'none',
      ssl_check_hostname: false,
      ssl_ca_certs: '/é &=',
    }),
    options: fc.dictionary(
      text.filter((key) => !/^(ssl|hostname$|port$|userid$|password$|virtual_host$|transport$|insist$)/.test(key)),
      text,
      { noNullPrototype: true },
    ),
    uriPrefix: fc.constant(undefined),
  });

  test('parseUrl reads what it writes', () => {
    fc.assert(
      fc.property(parts, (parsed) => {
        expect(parseUrl(asUrl(parsed, { includePassword: true }))).toEqual(parsed);
      }),
    );
  });

  test("Kombu's way to write a default virtual host", () => {
    expect(asUrl(parseUrl('amqp://guest:guest@localhost:5672//'))).toBe('amqp://guest:**@localhost:5672//');
    expect(asUrl({ transport: 'amqp', hostname: '::1', port: 5672 })).toBe('amqp://[::1]:5672/');
  });

  test('refuses what no URL can hold', () => {
    expect(() => asUrl({ transport: 'amqp', userid: '\ud800' })).toThrow(InvalidUrlError);
  });
});

test('seconds', () => {
  expect([10, '10', '0.5', 1.001, 0, '1e2', ' 3 '].map((value) => secondsToMs('heartbeat', value))).toEqual([
    10_000, 10_000, 500, 1001, 0, 100_000, 3000,
  ]);
  for (const value of ['', 'x', '-1', -1, Number.NaN, Number.POSITIVE_INFINITY, null, '0x10', 'inf', true]) {
    expect(() => secondsToMs('heartbeat', value)).toThrow(InvalidArgumentError);
  }
});
