/** Bodies: every serializer and compression, with values that are easily lost. */
import { expect } from 'vitest';
import { Decimal, jsonSerializer, type Message, type PublishOptions, PyDate, PyDateTime, PyTime, Uuid } from 'wakame';
import { bodies, inEachColumn, pack, take, unpacked } from './support/bench.ts';
import { cell, type Unless } from './support/matrix.ts';

const deep = (depth: number): unknown => (depth === 0 ? [] : [{ deeper: deep(depth - 1) }]);

const texts = ['é漢😀', 'x"\\/\b\f\n\r\t\0\x1f\x7f\u2028', '\ufeffx', '{"a": 1}'];

const json: readonly unknown[] = [
  null,
  ...[true, false, 0, 1, -1, 255, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 2 ** 53 - 1, -(2 ** 53) + 1],
  ...[2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 63n - 1n, 2n ** 64n, 10n ** 40n, -(10n ** 40n)],
  ...[0.1, -1.5, 5e-324, 1.7976931348623157e308, 0.30000000000000004, 1_700_000_000.123456],
  ...[Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY],
  ...[[], {}, { '': { '': '' } }, [1, [2, [3, {}]]], deep(40)],
  ...[{ __type__: 'x' }, { __value__: 1 }, { __type__: 'x', __value__: 1, more: 1 }],
  [''],
  ...texts.map((text) => [text]),
  ['a lone surrogate: \ud800'],
];

const uuid = new Uuid('12345678-1234-4678-9234-567812345678');

const typed: readonly unknown[] = [
  ...['2024-01-02T03:04:05.000006', '2024-01-02T03:04:05.000006+00:00', '2024-01-02T03:04:05', '0001-01-01T00:00:00'],
  ...['9999-12-31T23:59:59.999999+00:00', '2024-02-29T00:00:00-05:30'],
]
  .map((text): unknown => new PyDateTime(text))
  .concat([
    ...['2024-02-29', '0001-01-01'].map((text) => new PyDate(text)),
    ...['00:00:00', '01:02:03.000004', '23:59:59.999999+00:00'].map((text) => new PyTime(text)),
    ...['1.10', '-0', 'NaN', '1E+3', '-Infinity', '1234567890.1234567890123456789012345678'].map(
      (text) => new Decimal(text),
    ),
    ...[uuid, new Uint8Array(), Buffer.from('é漢😀'), Buffer.from([0xff, 0xfe])],
    ...[Uint8Array.from({ length: 256 }, (_, i) => i), [new PyDate('2024-01-02'), { a: new Decimal('2'), b: [uuid] }]],
  ]);

const yaml: readonly unknown[] = [
  ...[
    null,
    true,
    0,
    -1,
    2 ** 53 - 1,
    0.1,
    1e300,
    Number.POSITIVE_INFINITY,
    [],
    {},
    [1, ['x', { y: [null] }]],
    deep(20),
  ],
  ...[
    'yes',
    'null',
    '1',
    '1.5',
    '2024-01-02',
    '- x',
    'a: b',
    '#',
    '  x  ',
    'x\ny',
    '~',
    'é漢',
    '😀',
    '\t',
    "it's",
    '"',
    '',
  ],
  { true: 'a key', '1': 'another', 'a: b': 'and another' },
];

const msgpack: readonly unknown[] = [
  ...[null, true, false, 0, 127, 128, -32, -33, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, -(2 ** 31) - 1],
  ...[2n ** 63n - 1n, -(2n ** 63n), 2n ** 64n - 1n, 0.1, -1.5, 5e-324, Number.NaN, Number.NEGATIVE_INFINITY],
  ...[[], {}, deep(40), Array.from({ length: 70_000 }, () => 1), { x: { y: ['z'] } }, 'x'.repeat(70_000)],
  ...[new Uint8Array(), Buffer.from([0xff, 0xfe, 0x00]), new Uint8Array(70_000)],
];

/** Compresses well, does not, is longer than the window of some. */
const compressible: readonly unknown[] = [
  'a'.repeat(300_000),
  Array.from({ length: 20_000 }, (_, i) => (i * 2_654_435_761) % 65_536),
  'é漢😀',
];

const noTypes: Unless = ({ peer }) => (peer === 'old' ? 'Kombu before 5.3 has no typed values in JSON' : undefined);

inEachColumn('Formats', (bench) => {
  const { column } = bench;

  /** Node sends them all; what Python read is compared. */
  async function toPython(values: readonly unknown[], options: PublishOptions, accept?: string[]): Promise<void> {
    const queue = await bench.queue();
    await Promise.all(values.map((value) => bench.publish(queue, value, options)));
    const messages = await bench.peer.take(queue.name, { count: values.length, accept });
    expect(bodies(messages)).toEqual(values.map(pack));
  }

  async function fromPython(
    values: readonly unknown[],
    options: Record<string, unknown>,
    accept?: string[],
  ): Promise<Message[]> {
    const queue = await bench.queue();
    for (const value of values) {
      await bench.peer.call('publish', { body: pack(value), routing_key: queue.name, ...options });
    }
    const messages = await take(bench.connection, queue, values.length, { accept });
    expect(messages.map(({ payload }) => pack(payload))).toEqual(values.map(pack));
    return messages;
  }

  cell(column, 'Node → Python', 'json', () => toPython(json, { serializer: 'json' }));
  cell(column, 'Python → Node', 'json', async () => void (await fromPython(json, { serializer: 'json' })));

  const typedJson = 'json: dates, times, decimals, UUIDs, bytes as typed values';
  cell(
    column,
    'Node → Python',
    typedJson,
    () => toPython(typed, { serializer: jsonSerializer({ typed: true }) }),
    noTypes,
  );
  cell(column, 'Python → Node', typedJson, async () => void (await fromPython(typed, { serializer: 'json' })), noTypes);

  cell(column, 'Node → Python', 'json: dates as text, as every Kombu reads them', async () => {
    const queue = await bench.queue();
    const dates = [new Date(Date.UTC(2024, 0, 2, 3, 4, 5, 60)), new PyDateTime('2024-01-02T03:04:05.000006')];
    await bench.publish(queue, { dates });
    const [message] = await bench.peer.take(queue.name);
    expect(unpacked(message?.body)).toEqual(
      pack({ dates: ['2024-01-02T03:04:05.060+00:00', '2024-01-02T03:04:05.000006'] }),
    );
  });

  cell(
    column,
    'Python → Node',
    'json: dates, decimals, UUIDs as the text that Kombu 5.2 makes of them',
    async () => {
      const queue = await bench.queue();
      const body = pack([
        new PyDateTime('2024-01-02T03:04:05+00:00'),
        new Decimal('1.10'),
        uuid,
        new PyDate('2024-01-02'),
      ]);
      await bench.peer.call('publish', { body, routing_key: queue.name, serializer: 'json' });
      const [message] = await take(bench.connection, queue);
      expect(message?.payload).toEqual([
        '2024-01-02T03:04:05Z',
        '1.10',
        '12345678-1234-4678-9234-567812345678',
        '2024-01-02T00:00:00',
      ]);
    },
    ({ peer }) => (peer === 'old' ? undefined : 'Kombu since 5.3 writes typed values'),
  );

  cell(column, 'Node → Python', 'yaml', () => toPython(yaml, { serializer: 'yaml' }, ['yaml']));
  cell(column, 'Python → Node', 'yaml', async () => void (await fromPython(yaml, { serializer: 'yaml' }, ['yaml'])));
  cell(column, 'Node → Python', 'msgpack', () => toPython(msgpack, { serializer: 'msgpack' }, ['msgpack']));
  cell(column, 'Python → Node', 'msgpack', async () => {
    await fromPython(msgpack, { serializer: 'msgpack' }, ['msgpack']);
  });

  const bytes = [Uint8Array.of(0, 1, 0xff), Buffer.from('é'), Uint8Array.from({ length: 70_000 }, (_, i) => i % 251)];
  cell(column, 'Node → Python', 'raw bytes', async () => {
    await toPython(bytes, {});
    await toPython(bytes, { serializer: 'raw' });
  });
  cell(column, 'Python → Node', 'raw bytes', async () => {
    for (const options of [{}, { serializer: 'raw' }]) {
      for (const { contentType, contentEncoding } of await fromPython(bytes, options)) {
        expect([contentType, contentEncoding]).toEqual(['application/data', 'binary']);
      }
    }
  });

  cell(column, 'Node → Python', 'text', () => toPython(texts, {}));
  cell(column, 'Python → Node', 'text', async () => {
    for (const { contentType, contentEncoding } of await fromPython(texts, {})) {
      expect([contentType, contentEncoding]).toEqual(['text/plain', 'utf-8']);
    }
  });

  cell(column, 'Node → Python', 'a body encoded by the sender', async () => {
    const queue = await bench.queue();
    await bench.publish(queue, '<ž/>', { contentType: 'text/xml' });
    await bench.publish(queue, 'é', { contentType: 'text/xml', contentEncoding: 'latin-1' });
    const messages = await bench.peer.take(queue.name, { count: 2, accept: ['text/xml'] });
    expect(bodies(messages)).toEqual(['<ž/>', 'é'].map(pack));
    expect(messages.map(({ content_encoding: encoding }) => encoding)).toEqual(['utf-8', 'latin-1']);
  });
  cell(column, 'Python → Node', 'a body encoded by the sender', async () => {
    const queue = await bench.queue();
    const publish = (options: object) => bench.peer.call('publish', { routing_key: queue.name, ...options });
    await publish({ body: pack('<ž/>'), content_type: 'text/xml', content_encoding: 'utf-8' });
    await publish({ body: pack(Uint8Array.of(0xe9)), content_type: 'text/xml', content_encoding: 'latin-1' });
    const messages = await take(bench.connection, queue, 2, { accept: ['text/xml'] });
    expect(messages.map(({ contentType }) => contentType)).toEqual(['text/xml', 'text/xml']);
    expect(messages.map(({ payload }) => payload)).toEqual(['<ž/>', 'é']);
  });

  for (const name of ['zlib', 'bzip2', 'lzma', 'brotli', 'zstd']) {
    cell(column, 'Node → Python', `compression ${name}`, async () => {
      await toPython(compressible, { serializer: 'json', compression: name });
    });
    cell(column, 'Python → Node', `compression ${name}`, async () => {
      for (const { headers } of await fromPython(compressible, { serializer: 'json', compression: name })) {
        expect(headers).toHaveProperty('compression');
      }
    });
  }

  cell(column, 'Node → Python', 'what is not accepted is refused', async () => {
    const queue = await bench.queue();
    await bench.publish(queue, [1], { serializer: 'yaml' });
    await bench.publish(queue, 'text');
    const [refused, text] = await bench.peer.take(queue.name, { count: 2 });
    expect(refused?.body).toEqual({ error: 'ContentDisallowed' });
    expect(text?.body).toEqual({ text: 'text' });
  });
  cell(column, 'Python → Node', 'what is not accepted is refused', async () => {
    const queue = await bench.queue();
    const refused: [string, string | undefined][] = [];
    const consumer = bench.connection.consumer(queue, {
      onMessage: () => expect.unreachable(),
      onDecodeError: async (message, error) => {
        refused.push([error.code, message.contentType]);
        await message.ack();
      },
    });
    await using _ = { [Symbol.asyncDispose]: () => consumer.close() };
    await consumer.consume();
    await bench.peer.call('publish', { body: pack([1]), routing_key: queue.name, serializer: 'yaml' });
    await bench.peer.call('publish', { body: pack([1]), routing_key: queue.name, serializer: 'pickle' });
    await expect
      .poll(() => refused)
      .toEqual([
        ['CONTENT_DISALLOWED', 'application/x-yaml'],
        ['CONTENT_DISALLOWED', 'application/x-python-serialize'],
      ]);
  });
});
