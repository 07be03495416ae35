// What a user's compiler makes of the packages, in an ES module.
import { connect } from '@wakame/amqp';
import { MessagingError } from '@wakame/amqp/errors';
import { RpcClient, type Transport } from '@wakame/oslo';
import { Connection, Exchange, type Message, Queue } from 'wakame';
import * as testing from 'wakame/testing';

interface Video {
  name: string;
  size: number;
}

export async function main(signal: AbortSignal): Promise<string> {
  const media = new Exchange('media', { type: 'direct' });
  const video = new Queue<Video>('video', { exchange: media, routingKey: 'video' });
  const connection = new Connection('memory://types', { heartbeat: 60_000 });
  await connection.producer({ exchange: media }).publish({ name: 'lolcat.avi' }, { routingKey: 'video', signal });
  for await (const message of connection.consumer(video, { prefetch: 16 })) {
    const typed: Message<Video> = message;
    const size: number = typed.payload.size;
    await message.ack();
    return `${typed.payload.name} ${size}`;
  }
  // @ts-expect-error A queue of videos has no titles.
  connection.consumer(video, { onMessage: (message) => message.payload.title });
  // @ts-expect-error Without a type a payload is unknown.
  for await (const message of connection.consumer(new Queue('untyped'))) message.payload.name;
  return '';
}

export async function client(): Promise<Buffer | undefined> {
  const connection = await connect({ hostname: 'localhost' });
  try {
    const channel = await connection.channel();
    return (await channel.basicGet('video', { noAck: true }))?.body;
  } catch (error) {
    if (error instanceof MessagingError) console.error(error.code);
    throw error;
  }
}

interface MathApi {
  add(args: { a: number; b: number }): number;
  zero(): Promise<number>;
}

export async function rpc(transport: Transport): Promise<number> {
  const math = new RpcClient(transport, { topic: 'math' }).for<MathApi>();
  const sum: number = await math.add({ a: 1, b: 2 }, { timeout: 1000 });
  // @ts-expect-error Both are needed.
  await math.add({ a: 1 });
  // @ts-expect-error There is no such method.
  await math.subtract({ a: 1, b: 2 });
  return sum + (await math.zero());
}

export const suite: object = testing;
