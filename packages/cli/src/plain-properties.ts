/** The properties of a delivery are decoded when they are asked for; these are all there are. */
import type { BasicProperties } from 'wakame';

const NAMES = [
  'contentType',
  'contentEncoding',
  'deliveryMode',
  'priority',
  'correlationId',
  'replyTo',
  'expiration',
  'messageId',
  'timestamp',
  'type',
  'userId',
  'appId',
  'clusterId',
] as const satisfies readonly (keyof BasicProperties)[];

/** Those that a message has, without its headers, as an object to list or to change. */
export function plainProperties(properties: BasicProperties): Omit<BasicProperties, 'headers'> {
  return Object.fromEntries(NAMES.map((name) => [name, properties[name]]).filter(([, value]) => value !== undefined));
}
