import type { StoredMessage } from '../driver.js';

/** What a store without the notion keeps with a message, among the properties of its envelope. Clock times in milliseconds. */
export type Mark = 'x-wakame-expires-at' | 'x-wakame-not-before';

export function marked(message: StoredMessage, mark: Mark, at: number): StoredMessage {
  return { ...message, extra: { ...message.extra, [mark]: at } };
}

/** What the mark says; anything but a number, anybody may have written. */
export function markOf(message: StoredMessage, mark: Mark): number | undefined {
  const value = message.extra?.[mark];
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

/** The message without the mark, for it is no property of the application's and must not travel on with a dead letter. */
export function unmarked(message: StoredMessage, mark: Mark): StoredMessage {
  const { [mark]: _, ...extra } = message.extra ?? {};
  return { ...message, extra: Object.keys(extra).length === 0 ? undefined : extra };
}
