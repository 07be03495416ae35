"""Makes the files of this folder: what Kombu itself writes, reads and decides. They are kept, so that the tests need no Python.

    python3 -m venv /tmp/kombu
    /tmp/kombu/bin/pip install 'kombu[yaml,msgpack]==5.6.2' brotli zstandard
    /tmp/kombu/bin/python packages/wakame/test/golden/make.py [amqp://guest:guest@localhost:5672]
    npx biome format --write packages/wakame/test/golden

With the URL of a RabbitMQ it also asks that one which routing keys its topic bindings take.
"""

import base64
import datetime
import decimal
import fnmatch
import json
import math
import pathlib
import platform
import random
import sys
import uuid

import kombu
from kombu import Connection, Producer, compression, serialization
from kombu.transport.virtual.exchange import TopicExchange
from kombu.utils import json as kombu_json
from kombu.utils.url import maybe_sanitize_url, parse_url

HERE = pathlib.Path(__file__).parent
UTC = datetime.timezone.utc


def write(name, rows, **more):
    made = {'kombu': kombu.__version__, 'python': platform.python_version(), **more}
    (HERE / name).write_text(json.dumps({'made': made, 'rows': rows}))


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


def canonical(v):
    """A value of any format as plain JSON that loses nothing; test/support/canonical.ts does the same."""
    if v is None or isinstance(v, bool):
        return v
    if isinstance(v, float) and math.isfinite(v) and v == int(v) and abs(v) < 1e21:
        return {'number': str(int(v))}
    if isinstance(v, float):
        return {'number': repr(v) if math.isfinite(v) else {'inf': 'Infinity', '-inf': '-Infinity', 'nan': 'NaN'}[str(v)]}
    if isinstance(v, int):
        return {'number': str(v)}
    if isinstance(v, str):
        return {'text': v}
    if isinstance(v, bytes):
        return {'bytes': v.hex()}
    if isinstance(v, datetime.datetime):
        return {'datetime': v.isoformat()}
    if isinstance(v, datetime.date):
        return {'date': v.isoformat()}
    if isinstance(v, datetime.time):
        return {'time': v.isoformat()}
    if isinstance(v, decimal.Decimal):
        return {'decimal': str(v)}
    if isinstance(v, uuid.UUID):
        return {'uuid': v.hex}
    if isinstance(v, (list, tuple)):
        return [canonical(x) for x in v]
    return {'object': [[str(k), canonical(x)] for k, x in v.items()]}


def urls():
    tries = '''
        amqp:// amqp://localhost amqp://u:p@H.Example:5673// amqp://h/ amqp://h// amqp://h/%2F amqp://h/%2f amqp://h//foo
        amqp://h/foo/bar amqp://h/a%20b+c amqp://u%40x:p%2Fq%3A@h/v amqp://u:p@ss@h/v amqp://u:a:b@h amqp://:p@h amqp://u@h
        amqp://u:@h amqp://@h amqp://[::1]:5672/v amqp://[2001:DB8::1]/ amqp://[fe80::1%25eth0]/ amqp://h:/v amqp://:5673
        amqp://u:100%25sure@h amqp://u:100%sure@h amqp://%C3%A9:%E6%BC%A2@h AMQP://h amqp:///v amqp://h%2Dx/ pyamqp://
        amqp://h?heartbeat=10 amqp://h/v?heartbeat=10&connect_timeout=3.5 amqp://h?a=1&a=2 amqp://h?q=a+b%2B%26 amqp://h?q=a=b
        amqp://h?ssl_cert_reqs=CERT_NONE amqp://h?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca.pem
        amqp://h?ssl_check_hostname=False amqp://h?ssl_check_hostname=1 redis://:secret@h:6379/1 redis:// rediss://h/0
        amqp://h:99999 amqp://h:abc amqp://h:-1 amqp://h?ssl_cert_reqs=maybe amqp://h/v%20w/%25
    '''.split()
    rows = []
    for url in tries:
        try:
            parsed = parse_url(url)
            ssl = parsed.get('ssl')
            if ssl and 'ssl_cert_reqs' in ssl:
                ssl['ssl_cert_reqs'] = ssl['ssl_cert_reqs'].name
            rows.append({'url': url, 'parsed': parsed, 'sanitized': maybe_sanitize_url(url)})
        except (ValueError, KeyError):
            rows.append({'url': url})
    write('url.json', rows)


def typed_json():
    offset = datetime.timezone(datetime.timedelta(hours=-5, minutes=-30, seconds=-17))
    values = [
        datetime.datetime(2024, 1, 2, 3, 4, 5, 6), datetime.datetime(2024, 1, 2, 3, 4, 5, 6, UTC),
        datetime.datetime(2024, 1, 2, 3, 4, 5), datetime.datetime(1, 1, 1), datetime.datetime(99, 12, 31, 23, 59, 59, 999999),
        datetime.datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), datetime.datetime(2024, 2, 29, tzinfo=offset),
        datetime.date(2024, 2, 29), datetime.date(1, 1, 1), datetime.time(0), datetime.time(1, 2, 3, 4),
        datetime.time(23, 59, 59, 999999, UTC), decimal.Decimal('1.10'), decimal.Decimal('-0'), decimal.Decimal('NaN'),
        decimal.Decimal('1E+3'), decimal.Decimal('-Infinity'), decimal.Decimal('0.1') ** 40,
        uuid.UUID('12345678-1234-4678-9234-567812345678'), b'', b'abc', 'é漢😀'.encode(), b'\xff\xfe', bytes(range(256)),
        [datetime.date(2024, 1, 2), {'a': decimal.Decimal('2'), 'b': [b'x']}], {'__type__': 'x'}, {'__value__': 1},
        {'__type__': 'datetime', '__value__': '2024-01-02T03:04:05', 'more': 1},
        float('nan'), float('inf'), float('-inf'), 2 ** 53 - 1, 2 ** 53, 2 ** 53 + 1, -2 ** 53 - 1, 2 ** 64, 10 ** 40, -10 ** 40,
        1e16, 1e21, 1e22, 0.1, 5e-324, 1.7976931348623157e308, 0.30000000000000004, 1234567890123456.7,
        [1, [2, [3, {'a': [{}]}]]], 'a\ud800b', 'é漢😀', 'x"\\/\b\f\n\r\t\x00\x1f\x7f\u2028', {'': {'': ''}}, {1: 2, None: 3, 1.5: 4, True: 5},
    ]
    rows = []
    for value in values:
        text = kombu_json.dumps(value)
        rows.append({'text': text, 'value': canonical(kombu_json.loads(text))})
    write('typed-json.json', rows)


def some_text(rng):
    letters = rng.choice(['abcxyz', 'é漢😀\u2028\x85\x7f\x00\t\n"\\/', '0123456789.-+eE_:', 'yesnoYNtrufalsTRUE~=<>!&*|#%@`?-: ,[]{}'])
    return ''.join(rng.choice(letters) for _ in range(rng.choice([0, 1, 3, 8, 40])))


def some_value(rng, kind, depth=0):
    c = rng.randint(0, 9)
    if depth < 3 and c < 2:
        return [some_value(rng, kind, depth + 1) for _ in range(rng.choice([0, 1, 3, 17]))]
    if depth < 3 and c < 4:
        return {some_text(rng): some_value(rng, kind, depth + 1) for _ in range(rng.choice([0, 1, 3, 17]))}
    big = [10 ** 30, -10 ** 40] if kind != 'msgpack' else []
    return rng.choice([
        lambda: None,
        lambda: rng.choice([True, False]),
        lambda: rng.choice([0, 1, -1, -32, -33, 127, 128, -128, -129, 255, 256, 65535, 65536, -32768, -32769, 2 ** 31, -2 ** 31,
                            -2 ** 31 - 1, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, -2 ** 53 - 1, 2 ** 63, -2 ** 63, 2 ** 64 - 1, *big]),
        lambda: rng.choice([0.5, -0.25, 1e300, 1e-300, 1e21, 123456789.123, rng.random(), 5e-324, float('inf'), float('nan')]),
        lambda: bytes(rng.randint(0, 255) for _ in range(rng.randint(0, 20))),
        lambda: some_text(rng),
    ])()


def formats():
    serialization.enable_insecure_serializers(['yaml', 'msgpack'])
    moments = [
        datetime.datetime(2024, 1, 2, 3, 4, 5, 6), datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), datetime.date(2024, 2, 29),
        datetime.datetime(1999, 12, 31, 23, 59, 59, 999999, datetime.timezone(datetime.timedelta(hours=5, minutes=30))),
    ]
    words = ['y', 'n', 'yes', 'No', 'on', '1e3', '1_000', '0o17', '017', '1:30', '=', '<<', '~', 'null', '', '2024-01-02', '.5', '-', '- a', '# a', 'a: b']
    for kind in ['yaml', 'msgpack']:
        rng = random.Random(7)
        values = [some_value(rng, kind) for _ in range(60)] + [words, {word: 1 for word in words}]
        values += moments if kind == 'yaml' else [[b'', b'x' * 300, 'x' * 31, 'x' * 32, 'é' * 200, list(range(16)), {str(i): i for i in range(16)}]]
        rows = []
        for value in values:
            content_type, content_encoding, body = serialization.dumps([value], kind)
            back = serialization.loads(body, content_type, content_encoding)
            rows.append({'body': b64(body), 'value': canonical(back)})
        write(f'{kind}.json', rows)


def envelopes():
    channel = Connection('memory://').channel()
    stored = []
    channel._put = lambda queue, message, **kwargs: stored.append(kombu_json.dumps(message))
    producer = Producer(channel)
    stamp = datetime.datetime(2024, 1, 2, tzinfo=UTC)
    publishes = [
        ({'a': 1}, dict(correlation_id='c', reply_to='r', expiration=1.5, message_id='m', type='t', app_id='a', timestamp=1700000000,
                        user_id='u', cluster_id='k', priority=5, headers={'h': 1, 'at': stamp, 'raw': b'\xff', 'n': None}, DelaySeconds=3)),
        ('héllo', {}), (b'\xff\x00', dict(compression='gzip')), ({}, dict(priority=99)), ('', {}), (b'', {}),
        ({'x': 'y' * 300}, dict(delivery_mode=1, headers={'é"\\': '漢'})),
    ]
    rows = []
    for encoding in ['base64', 'utf-8', None]:
        channel.body_encoding = encoding
        for body, options in publishes:
            producer.publish(body, routing_key='quéue "x"', **options)
            message = channel.Message(json.loads(stored[-1], object_hook=kombu_json.object_hook), channel=channel)
            raw = kombu_json.loads(stored[-1])['body']
            raw = channel.decode_body(raw, encoding) if encoding else raw
            rows.append({
                'text': stored[-1], 'body': b64(raw), 'payload': canonical(message.decode()),
                'headers': canonical(message.headers), 'properties': canonical(message.properties),
            })
    write('envelope.json', rows)


def topics():
    exchange = TopicExchange(None)
    keys = ['', 'stock', 'stock.us', 'stock.*', 'stock.#', '*', '#', '*.#', '#.*', '#.x', 'a.#.b', 'a_b.c-d', 'é.漢', 'a b.$', 'a*.b#', 'x.*.#', '\0']
    write('binding-pattern.json', [[key, exchange.key_to_pattern(key)] for key in keys])


def rabbitmq_topics(url):
    import amqp
    host = url.split('@')[-1].strip('/')
    connection = amqp.Connection(host, 'guest', 'guest')
    connection.connect()
    version = connection.server_properties['version']
    channel = connection.channel()
    rng = random.Random(11)
    bindings = {'', '*', '#', '.', '*.*', '#.#', '*.#', '#.*', 'a.#.b', '#.a.#', 'a.*.#.b', '..', 'a..b', '*..*', '#.', '.#', 'a.#', '#.a'}
    while len(bindings) < 70:
        bindings.add('.'.join(rng.choice(['', 'a', 'b', '*', '#', 'a*', '#b']) for _ in range(rng.randint(1, 4))))
    keys = {'', '.', '..', 'a', 'a.b', 'a.a.b', 'a..b', 'a*', '*', '#', 'a.*'}
    while len(keys) < 70:
        keys.add('.'.join(rng.choice(['', 'a', 'b', 'a*', '#b', '*', '#']) for _ in range(rng.randint(1, 5))))
    keys = sorted(keys)
    rows = []
    for binding in sorted(bindings):
        name = f'golden.{uuid.uuid4()}'
        channel.exchange_declare(name, 'topic', auto_delete=True)
        queue = channel.queue_declare(exclusive=True).queue
        channel.queue_bind(queue, name, binding)
        for key in keys:
            channel.basic_publish(amqp.Message(key), name, key)
        channel.queue_declare(queue, passive=True)
        taken = []
        while message := channel.basic_get(queue, no_ack=True):
            taken.append(message.delivery_info['routing_key'])
        channel.queue_delete(queue)
        rows.append([binding, taken])
    connection.close()
    write('rabbitmq-topic.json', rows, rabbitmq=version, keys=keys)


def globs():
    rng = random.Random(5)
    rows = []
    while len(rows) < 300:
        pattern = ''.join(rng.choice('ab-]![*?.^\\') for _ in range(rng.randint(0, 8)))
        data = ''.join(rng.choice('ab-]![.^\\') for _ in range(rng.randint(0, 5)))
        matches = fnmatch.fnmatchcase(data, pattern)
        if matches or rng.random() < 0.1:
            rows.append([data, pattern, matches])
    for data, pattern in [
        ('celery@host.example', 'celery@*'), ('a\nb', 'a?b'), ('a\n', 'a'), ('é', '?'), ('😀', '?'), ('b', '[a-c]'), ('-', '[a-]'), ('b', '[c-a]'),
        ('b', '[!c-a]'), ('x', '[!c-ab]'), ('b', '[a-b-c]'), ('-', '[a-b-c]'), ('c', '[a-b-c]'), (']', '[]]'), ('a', '[!]]'), ('[', '['), ('[]', '[]'),
        ('A', 'a'), ('a', '[a-c-e]'), ('b', '[--0]'), ('.', '[--0]'), ('\\', '[\\]'), ('a' * 30, '*a' * 12 + 'b'), ('😀', '[🗿-😁]'),
    ]:
        rows.append([data, pattern, fnmatch.fnmatchcase(data, pattern)])
    write('glob.json', rows)


def compressions():
    rng = random.Random(3)
    bodies = [
        b'a', b'abc' * 5, b'\0' * 1000, bytes(range(256)) * 4, bytes(rng.randint(0, 255) for _ in range(1500)),
        b'the quick brown fox jumps over the lazy dog ' * 40, b'aaaa', b'aaaaa', b'a' * 255 + b'b' * 259 + b'c' * 260, b'ab' * 5000,
        bytes(rng.choice(b'ab') for _ in range(3000)), b'x' * 300000, json.dumps([{'id': i, 'v': rng.random()} for i in range(60)]).encode(),
    ]
    rows = []
    for body in bodies:
        packed = {}
        for method in ['gzip', 'bzip2', 'lzma', 'brotli', 'zstd']:
            data, content_type = compression.compress(body, method)
            packed[content_type] = b64(data)
        # The bodies are large and dull: told by their zlib form.
        rows.append({'length': len(body), 'packed': packed})
    write('compression.json', rows)


if __name__ == '__main__':
    urls()
    typed_json()
    formats()
    envelopes()
    topics()
    globs()
    compressions()
    if len(sys.argv) > 1:
        rabbitmq_topics(sys.argv[1])
