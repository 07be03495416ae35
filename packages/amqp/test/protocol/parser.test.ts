import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  FrameError,
  FrameSyntaxError,
  InvalidArgumentError,
  MessagingError,
  UnexpectedFrame,
} from '../../src/errors.js';
import { FrameParser, OutboundBuffer } from '../../src/protocol/index.js';
import { frame, Recorder } from './helpers.js';

/** A conversation as a server sends it: methods, contents of no, one and several body frames, two channels, heartbeats. */
function conversation(): Buffer {
  const out = new OutboundBuffer({ onPending: () => {}, frameMax: 4096 });
  out.method(0, 'connection.tune', { channelMax: 2047, frameMax: 4096, heartbeat: 60 });
  out.heartbeat();
  out.method(1, 'basic.consume-ok', { consumerTag: 'tag' });
  const delivery = { consumerTag: 'tag', deliveryTag: 1, redelivered: false, exchange: 'e', routingKey: 'k' };
  out.content(1, 'basic.deliver', delivery, {}, '');
  out.content(1, 'basic.deliver', delivery, { headers: { n: 1 }, priority: 0 }, 'one frame');
  out.heartbeat();
  out.content(2, 'basic.deliver', delivery, { type: 't' }, Buffer.alloc(9000, 'several frames '));
  out.method(1, 'basic.ack', { deliveryTag: 5 });
  return Buffer.concat(out.take());
}

/** The same with short frames, for the tests that try every cut. */
const SHORT = Buffer.concat([
  frame(1, 1, '003c003c01740000000000000001000165016b'),
  frame(2, 1, '003c0000000000000000000a80000161'),
  frame(8, 0, ''),
  frame(3, 1, '0001020304'),
  frame(1, 2, '003c0050000000000000000100'),
  frame(3, 1, ''),
  frame(3, 1, '05'),
  frame(3, 1, '06ce0809'),
  frame(8, 0, ''),
]);

function parse(chunks: Iterable<Buffer>): string[] {
  const recorder = new Recorder();
  const parser = new FrameParser(recorder, 4096);
  for (const chunk of chunks) parser.execute(chunk);
  return recorder.events;
}

/** Cuts at the given offsets; each chunk in memory of its own, which is overwritten once the parser has had it. */
function* cut(stream: Buffer, offsets: number[]): Iterable<Buffer> {
  let from = 0;
  for (const to of [...offsets, stream.length]) {
    const chunk = Buffer.from(stream.subarray(from, to));
    yield chunk;
    chunk.fill(0xaa);
    from = to;
  }
}

const failure = (run: () => unknown): MessagingError => {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(MessagingError);
    return error as MessagingError;
  }
  throw new Error('did not fail');
};

describe('a stream of frames', () => {
  it('is read in one piece', () => {
    expect(parse([SHORT])).toEqual([
      'method 1 3c003c 017400000000000000010001 65016b'.replace(' 65', '65'),
      'header 1 60 10 80000161',
      'heartbeat',
      'body 1 00010203040506ce0809',
      'method 2 3c0050 000000000000000100',
      'heartbeat',
    ]);
  });

  it('is read alike byte by byte', () => {
    const each = Array.from({ length: SHORT.length - 1 }, (_, i) => i + 1);
    expect(parse(cut(SHORT, each))).toEqual(parse([SHORT]));
    const stream = conversation();
    const every = Array.from({ length: stream.length - 1 }, (_, i) => i + 1);
    expect(parse(cut(stream, every))).toEqual(parse([stream]));
  });

  it('is read alike for every two cuts', () => {
    const whole = parse([SHORT]);
    for (let first = 0; first <= SHORT.length; first++) {
      for (let second = first; second <= SHORT.length; second++) {
        expect(parse(cut(SHORT, [first, second])), `cut at ${first} and ${second}`).toEqual(whole);
      }
    }
  });

  it('is read alike for any cuts', () => {
    const stream = conversation();
    const whole = parse([stream]);
    fc.assert(
      fc.property(fc.array(fc.nat(stream.length), { maxLength: 40 }), (offsets) => {
        expect(
          parse(
            cut(
              stream,
              offsets.sort((a, b) => a - b),
            ),
          ),
        ).toEqual(whole);
      }),
    );
  });

  it('cloudamqp#255: with a content header spread over three reads is put together', () => {
    const header = frame(2, 1, '003c00000000000000000000200000000000');
    expect(parse([header.subarray(0, 3), header.subarray(3, 12), header.subarray(12)])).toEqual(parse([header]));
  });

  it('with long methods and content headers is put together from short pieces', () => {
    const payload = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i));
    const stream = Buffer.concat([
      frame(1, 1, payload),
      frame(2, 1, Buffer.concat([Buffer.from('003c00000000000000000000', 'hex'), payload])),
      frame(1, 1, payload.subarray(0, 9000)),
    ]);
    const read = (chunks: Iterable<Buffer>) => {
      const recorder = new Recorder();
      const parser = new FrameParser(recorder);
      for (const chunk of chunks) parser.execute(chunk);
      return recorder.events;
    };
    const offsets = (step: number) => Array.from({ length: Math.floor(stream.length / step) }, (_, i) => i * step);
    expect(read(cut(stream, offsets(1000)))).toEqual(read([stream]));
    expect(read(cut(stream, offsets(65_536)))).toEqual(read([stream]));
  });

  it('hands on pieces of a long body where they lie, as they come', () => {
    const pieces: [Buffer, number, number, number][] = [];
    const parser = new FrameParser(
      Object.assign(new Recorder(), {
        onBody: (_: number, ...piece: [Buffer, number, number, number]) => pieces.push(piece),
      }),
    );
    const stream = frame(3, 1, Buffer.alloc(1000, 1));
    const [head, middle, tail] = [stream.subarray(0, 207), stream.subarray(207, 600), stream.subarray(600)];
    parser.execute(head);
    expect(pieces).toEqual([[head, 7, 207, 800]]);
    parser.execute(middle);
    parser.execute(tail);
    expect(pieces.slice(1)).toEqual([
      [middle, 0, 393, 407],
      [tail, 0, 407, 0],
    ]);
    expect(pieces[1]?.[0]).toBe(middle);
  });

  it('does not complete a body before the end octet was seen', () => {
    const recorder = new Recorder();
    const parser = new FrameParser(recorder);
    parser.execute(frame(3, 1, '0102').subarray(0, 9));
    expect(recorder.events).toEqual(['body 1 01']);
    parser.execute(Buffer.of(0xce));
    expect(recorder.events).toEqual(['body 1 0102']);
  });

  it('tells the size of a body up to 2^53', () => {
    expect(parse([frame(2, 1, '003c0000001fffffffffffff0000')])).toEqual([
      `header 1 60 ${Number.MAX_SAFE_INTEGER} 0000`,
    ]);
  });
});

describe('a broken stream', () => {
  const errors: [string, Buffer, new (message: string) => Error, number | undefined, string][] = [
    [
      'a wrong end octet',
      frame(1, 1, '003c0050', 0xcd),
      FrameError,
      501,
      'octet 0xcd where a frame of type 1 on channel 1',
    ],
    ['a wrong end octet of a body', frame(3, 1, '0102', 0), FrameError, 501, 'octet 0x00 where a frame of type 3'],
    ['a wrong end octet of an empty body', frame(3, 1, '', 0), FrameError, 501, 'octet 0x00'],
    ['a wrong end octet of a heartbeat', frame(8, 0, '', 0), FrameError, 501, 'octet 0x00'],
    ['a heartbeat on a channel', frame(8, 1, ''), FrameError, 501, 'a heartbeat on channel 1 with 0 bytes'],
    ['a heartbeat with a payload', frame(8, 0, '01'), FrameError, 501, 'a heartbeat on channel 0 with 1 bytes'],
    ['a method without ids', frame(1, 1, '003c00'), FrameSyntaxError, 502, 'a method frame of 3 bytes'],
    ['a short content header', frame(2, 1, '003c0000000000000000000000'), FrameSyntaxError, 502, 'frame of 13 bytes'],
    [
      'a content header on channel 0',
      frame(2, 0, '003c00000000000000000000'.padEnd(28, '0')),
      UnexpectedFrame,
      505,
      'channel 0',
    ],
    ['a body on channel 0', frame(3, 0, '01'), UnexpectedFrame, 505, 'channel 0'],
  ];

  it.each(errors)('with %s is refused however it is cut', (_, bytes, type, replyCode, message) => {
    const stream = Buffer.concat([frame(8, 0, ''), bytes, frame(8, 0, '')]);
    for (const chunks of [
      [stream],
      cut(
        stream,
        Array.from({ length: stream.length }, (_, i) => i),
      ),
    ]) {
      const error = failure(() => parse(chunks));
      expect(error).toBeInstanceOf(type);
      expect(error).toMatchObject({ code: 'PROTOCOL_ERROR', replyCode, recoverable: false });
      expect(error.message).toContain(message);
    }
  });

  it('with an unknown frame type is refused', () => {
    const error = failure(() => parse([Buffer.concat([frame(8, 0, ''), frame(4, 1, '00')])]));
    expect(error).toBeInstanceOf(FrameError);
    expect(error.message).toContain('unknown frame type 4');
  });

  it.each([4096, 8192, 131072])('with a frame longer than %i is refused at its seventh byte', (frameMax) => {
    const longest = frame(3, 1, Buffer.alloc(frameMax - 8));
    const parser = new FrameParser(new Recorder(), frameMax);
    parser.execute(longest);
    const tooLong = frame(3, 1, Buffer.alloc(frameMax - 7));
    parser.execute(tooLong.subarray(0, 6));
    const error = failure(() => parser.execute(tooLong.subarray(6, 7)));
    expect(error).toBeInstanceOf(FrameError);
    expect(error.message).toContain(`a frame of ${frameMax + 1} bytes on channel 1, agreed were at most ${frameMax}`);
  });

  it('GHSA-37f9-7m79-6866: takes memory for what has come, not for what is announced', () => {
    const parser = new FrameParser(new Recorder(), 0);
    const before = process.memoryUsage().arrayBuffers;
    parser.execute(Buffer.from('01000107fffff8003c0050', 'hex'));
    parser.execute(Buffer.alloc(100_000));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(1_000_000);
    expect(
      failure(() => new FrameParser(new Recorder(), 0).execute(Buffer.from('01000107fffff9', 'hex'))).message,
    ).toContain('agreed were at most 134217728');
  });

  it('stays refused', () => {
    const recorder = new Recorder();
    const parser = new FrameParser(recorder);
    const error = failure(() => parser.execute(frame(1, 1, '003c0050', 0)));
    expect(failure(() => parser.execute(frame(8, 0, '')))).toBe(error);
    expect(recorder.events).toEqual([]);
  });

  it.each([
    ['1.0', '414d515000010000', 'asks for version 1-0-0'],
    ['0-9-1 again', '414d515000000901', 'asks for version 0-9-1'],
    ['0-9', '414d515001010009', 'asks for version 0-9'],
  ])('that is the protocol header of AMQP %s is told as such', (_, hex, message) => {
    const header = Buffer.from(hex, 'hex');
    for (const chunks of [[header], cut(header, [1, 2, 3, 4, 5, 6, 7])]) {
      const error = failure(() => parse(chunks));
      expect(error.code).toBe('NOT_SUPPORTED');
      expect(error.message).toContain(message);
    }
  });

  it.each([
    ['HTTP', Buffer.from('HTTP/1.1 400 Bad Request\r\n'), 'it began with "HTTP/1."'],
    ['TLS', Buffer.from('15030300020228', 'hex'), 'it began with 0x15030300020228 (it looks like TLS)'],
    ['a word that begins like AMQP', Buffer.from('ALARM ON'), 'it began with "ALARM ON"'],
  ])('of another protocol is told as such: %s', (_, bytes, message) => {
    for (const chunks of [[bytes], cut(bytes, [1, 2, 3, 4, 5, 6])]) {
      expect(failure(() => parse(chunks)).message).toContain(message);
    }
  });

  it('refuses a protocol header in the middle', () => {
    const error = failure(() => parse([frame(8, 0, ''), Buffer.from('AMQP\0\0\x09\x01', 'latin1')]));
    expect(error.message).toContain('unknown frame type 65');
  });
});

describe('the handler', () => {
  it('may lower frameMax for the next frame of the same chunk', () => {
    const recorder = new Recorder();
    const parser: FrameParser = new FrameParser(
      Object.assign(recorder, { onHeartbeat: () => parser.setFrameMax(4096) }),
      131072,
    );
    const long = frame(3, 1, Buffer.alloc(5000));
    expect(failure(() => parser.execute(Buffer.concat([long, frame(8, 0, ''), long]))).message).toContain(
      'agreed were at most 4096',
    );
    expect(recorder.events).toEqual([`body 1 ${'00'.repeat(5000)}`]);
  });

  it('may stop the parser in the middle of a chunk', () => {
    const recorder = new Recorder();
    const parser: FrameParser = new FrameParser(Object.assign(recorder, { onMethod: () => parser.stop() }));
    const stream = Buffer.concat([frame(1, 1, '003c0050'), frame(8, 0, ''), Buffer.from('rubbish')]);
    parser.execute(stream);
    parser.execute(stream);
    expect(recorder.events).toEqual([]);
  });

  it.each(['onMethod', 'onContentHeader', 'onBody', 'onHeartbeat'])(
    'that throws in %s ends the parser with that very error',
    (name) => {
      const thrown = new Error('from the handler');
      let calls = 0;
      const handler = Object.assign(new Recorder(), {
        [name]: () => {
          calls++;
          throw thrown;
        },
      });
      for (const chunks of [[SHORT], cut(SHORT, [3, 9, 40, 71])]) {
        calls = 0;
        const parser = new FrameParser(handler);
        const run = () => {
          for (const chunk of chunks) parser.execute(chunk);
        };
        expect(run).toThrow(thrown);
        expect(() => parser.execute(SHORT)).toThrow(thrown);
        expect(calls).toBe(1);
      }
    },
  );
});

it.each([1, 4095, -1, 1.5, Number.NaN, 2 ** 32])('refuses a frameMax of %d', (frameMax) => {
  expect(() => new FrameParser(new Recorder(), frameMax)).toThrow(InvalidArgumentError);
});
