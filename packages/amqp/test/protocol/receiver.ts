import {
  ContentAssembler,
  type DecodedProperties,
  decodeMethod,
  type FrameHandler,
  FrameParser,
  METHODS,
  type MethodName,
} from '../../src/protocol/index.js';

/** One thing received on a channel. `body` and `properties` where the method has content. */
export interface Received {
  channel: number;
  name: MethodName | 'heartbeat' | 'too large';
  arguments?: unknown;
  properties?: DecodedProperties;
  body?: Buffer;
}

/** A whole receiving side: parser, decoders and an assembler for each channel. */
export class Receiver implements FrameHandler {
  readonly received: Received[] = [];
  readonly #assemblers = new Map<number, ContentAssembler<Received>>();
  readonly #parser: FrameParser;
  readonly #maxBodyBytes: number | undefined;

  constructor(frameMax?: number, maxBodyBytes?: number) {
    this.#parser = new FrameParser(this, frameMax);
    this.#maxBodyBytes = maxBodyBytes;
  }

  execute(chunk: Uint8Array): void {
    this.#parser.execute(Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength));
  }

  onMethod(channel: number, id: number, buffer: Buffer, start: number, end: number): void {
    const method = { channel, ...decodeMethod(id, buffer, start, end) };
    if ('content' in METHODS[method.name]) {
      this.#assembler(channel).begin(method);
    } else {
      this.#assembler(channel).expectNone(method.name);
      this.received.push(method);
    }
  }

  onContentHeader(
    channel: number,
    classId: number,
    bodySize: number,
    buffer: Buffer,
    start: number,
    end: number,
  ): void {
    this.#assembler(channel).header(classId, bodySize, buffer, start, end);
  }

  onBody(channel: number, buffer: Buffer, start: number, end: number, left: number): void {
    this.#assembler(channel).body(buffer, start, end, left);
  }

  onHeartbeat(): void {
    this.received.push({ channel: 0, name: 'heartbeat' });
  }

  #assembler(channel: number): ContentAssembler<Received> {
    let assembler = this.#assemblers.get(channel);
    if (assembler === undefined) {
      assembler = new ContentAssembler<Received>(
        {
          onContent: (method, properties, body) => this.received.push({ ...method, properties, body }),
          onContentTooLarge: () => this.received.push({ channel, name: 'too large' }),
        },
        { maxBodyBytes: this.#maxBodyBytes },
      );
      this.#assemblers.set(channel, assembler);
    }
    return assembler;
  }
}
