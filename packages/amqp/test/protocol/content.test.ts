import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ContentTooLarge, FrameError, UnexpectedFrame } from '../../src/errors.js';
import {
  ContentAssembler,
  type ContentOptions,
  DEFAULT_MAX_BODY_BYTES,
  type DecodedProperties,
} from '../../src/protocol/index.js';

interface Content {
  method: string;
  properties: DecodedProperties;
  body: Buffer;
}

function setUp(options?: ContentOptions) {
  const contents: Content[] = [];
  const refused: { method: string; error: ContentTooLarge }[] = [];
  const assembler = new ContentAssembler<string>(
    {
      onContent: (method, properties, body) => contents.push({ method, properties, body }),
      onContentTooLarge: (method, _, error) => refused.push({ method, error }),
    },
    options,
  );
  const header = (bodySize: number, properties = Buffer.alloc(2)) =>
    assembler.header(60, bodySize, properties, 0, properties.length);
  const body = (bytes: Buffer) => assembler.body(bytes, 0, bytes.length, 0);
  return { assembler, contents, refused, header, body };
}

describe('a content', () => {
  it('is complete when its bytes are, however they come', () => {
    const whole = Buffer.from(Array.from({ length: 300 }, (_, i) => i));
    fc.assert(
      fc.property(fc.array(fc.nat(whole.length), { maxLength: 20 }), (offsets) => {
        const { assembler, contents, header, body } = setUp({ sliceFrom: 100 });
        assembler.begin('deliver');
        header(whole.length);
        let from = 0;
        for (const to of [...offsets.sort((a, b) => a - b), whole.length]) {
          expect(contents).toHaveLength(from === whole.length ? 1 : 0);
          if (from === whole.length) return;
          body(whole.subarray(from, to));
          from = to;
        }
        expect(contents).toHaveLength(1);
        expect(contents[0]?.body).toEqual(whole);
      }),
    );
  });

  it('has its method, and properties of its own', () => {
    const { assembler, contents, header } = setUp();
    const bytes = Buffer.from('80000161', 'hex');
    assembler.begin('get-ok');
    header(0, bytes);
    bytes.fill(0);
    expect(contents).toMatchObject([{ method: 'get-ok', body: Buffer.alloc(0) }]);
    expect(contents[0]?.properties.toObject()).toEqual({ contentType: 'a' });
  });

  it('without properties has none', () => {
    const { assembler, contents, header } = setUp();
    assembler.begin('m');
    header(0);
    expect(contents[0]?.properties.toObject()).toEqual({});
  });

  it('may follow another from within the handler', () => {
    const bodies: string[] = [];
    const bytes = Buffer.from('ab');
    const assembler: ContentAssembler<number> = new ContentAssembler<number>({
      onContent: (method, _, body) => {
        bodies.push(body.toString());
        if (method > 2) return;
        assembler.begin(method + 1);
        assembler.header(60, 2, Buffer.alloc(2), 0, 2);
        assembler.body(bytes, 0, 2, 0);
      },
      onContentTooLarge: () => {},
    });
    assembler.begin(0);
    assembler.header(60, 0, Buffer.alloc(2), 0, 2);
    expect(bodies).toEqual(['', 'ab', 'ab', 'ab']);
  });
});

describe('memory of a body', () => {
  const chunk = Buffer.alloc(65536, 1);

  it('is the chunk where the body is long and whole', () => {
    const { assembler, contents, header } = setUp();
    assembler.begin('m');
    header(4096);
    assembler.body(chunk, 100, 4196, 0);
    expect(contents[0]?.body.buffer).toBe(chunk.buffer);
    expect(contents[0]?.body).toEqual(Buffer.alloc(4096, 1));
  });

  it.each([
    ['short', 4095, {}],
    ['not allowed to be a slice', 65536, { sliceFrom: Number.POSITIVE_INFINITY }],
  ])('is a copy where it is %s', (_, size, options) => {
    const { assembler, contents, header } = setUp(options);
    assembler.begin('m');
    header(size);
    assembler.body(chunk, 0, size, 0);
    expect(contents[0]?.body.buffer).not.toBe(chunk.buffer);
    expect(contents[0]?.body).toEqual(Buffer.alloc(size, 1));
  });

  it('is not taken for a body that is only announced', () => {
    const { assembler, header } = setUp();
    const before = process.memoryUsage().arrayBuffers;
    assembler.begin('m');
    header(DEFAULT_MAX_BODY_BYTES);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
  });
});

describe('a body longer than maxBodyBytes', () => {
  it('is refused by its header, read over, and harms nothing after it', () => {
    const { assembler, contents, refused, header, body } = setUp({ maxBodyBytes: 10 });
    assembler.begin('first');
    header(11);
    expect(refused).toMatchObject([{ method: 'first', error: { code: 'MESSAGE_TOO_LARGE' } }]);
    expect(refused[0]?.error).toBeInstanceOf(ContentTooLarge);
    expect(refused[0]?.error.message).toContain('a body of 11 bytes');
    body(Buffer.alloc(4));
    expect(() => assembler.expectNone('a method')).toThrow(UnexpectedFrame);
    body(Buffer.alloc(7));
    assembler.begin('second');
    header(10);
    body(Buffer.alloc(10, 2));
    expect(contents).toMatchObject([{ method: 'second', body: Buffer.alloc(10, 2) }]);
    expect(refused).toHaveLength(1);
  });

  it('is refused for the default, and for sizes beyond 2^53', () => {
    for (const size of [DEFAULT_MAX_BODY_BYTES + 1, 2 ** 64]) {
      const { assembler, refused, header } = setUp();
      assembler.begin('m');
      header(size);
      expect(refused).toHaveLength(1);
    }
  });
});

describe('frames out of order', () => {
  const cases: [string, (set: ReturnType<typeof setUp>) => void, string][] = [
    ['a body without a header', ({ body }) => body(Buffer.of(1)), 'a body frame where a method had to come'],
    ['a header without a method', ({ header }) => header(1), 'a content header where a method had to come'],
    [
      'a body instead of a header',
      ({ assembler, body }) => {
        assembler.begin('m');
        body(Buffer.of(1));
      },
      'a body frame where a content header had to come',
    ],
    [
      'a second header',
      ({ assembler, header }) => {
        assembler.begin('m');
        header(5);
        header(5);
      },
      'a content header where the rest of a body had to come',
    ],
    [
      'a method with content instead of a body',
      ({ assembler, header, body }) => {
        assembler.begin('m');
        header(5);
        body(Buffer.of(1));
        assembler.begin('n');
      },
      'a method where the rest of a body had to come',
    ],
    [
      'another method instead of a header',
      ({ assembler }) => {
        assembler.begin('m');
        assembler.expectNone('basic.ack');
      },
      'basic.ack where a content header had to come',
    ],
  ];

  it.each(cases)('are refused: %s', (_, run, message) => {
    const set = setUp();
    expect(() => run(set)).toThrow(UnexpectedFrame);
    expect(() => run(setUp())).toThrow(message);
    expect(set.contents).toEqual([]);
  });

  it('are refused: a header of another class', () => {
    const { assembler } = setUp();
    assembler.begin('m');
    expect(() => assembler.header(50, 0, Buffer.alloc(2), 0, 2)).toThrow(UnexpectedFrame);
  });

  it('are refused: more body than announced', () => {
    const { assembler, contents, header, body } = setUp();
    assembler.begin('m');
    header(5);
    body(Buffer.alloc(3));
    expect(() => body(Buffer.alloc(3))).toThrow(FrameError);
    expect(contents).toEqual([]);
  });

  it('are refused before a message is complete: a frame that goes on behind the body', () => {
    const { assembler, contents, header } = setUp();
    assembler.begin('m');
    header(5);
    expect(() => assembler.body(Buffer.alloc(5), 0, 5, 1)).toThrow(FrameError);
    expect(contents).toEqual([]);
  });

  it('do not include an empty body frame among others', () => {
    const { assembler, contents, header, body } = setUp();
    assembler.begin('m');
    header(2);
    body(Buffer.alloc(0));
    body(Buffer.from('a'));
    body(Buffer.alloc(0));
    body(Buffer.from('b'));
    expect(contents).toMatchObject([{ body: Buffer.from('ab') }]);
  });
});
