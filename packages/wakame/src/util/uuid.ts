import { randomUUID } from 'node:crypto';

/** A random identifier (UUID version 4) in the usual form with dashes, as `kombu.utils.uuid`. */
export function uuid(): string {
  return randomUUID();
}
