/** What the tests of mailboxes share. */
import { onTestFinished } from 'vitest';
import { Connection, Mailbox, type MailboxOptions } from 'wakame';
import type { Bench } from '../messaging/support.js';

/** A mailbox of a name that nobody else uses, bound to the bench's connection. Its exchanges go with the test. */
export function mailboxOf(bench: Bench, options: MailboxOptions = {}): Mailbox {
  const mailbox = new Mailbox(bench.name('box'), { connection: bench.connection, ...options });
  if (!bench.url.startsWith('memory:')) {
    onTestFinished(async () => {
      // The bench's own way to the server has ended.
      const { WAKAME_TEST_REDIS_URL, WAKAME_TEST_RABBITMQ_URL } = process.env;
      const tidy = new Connection(bench.url.startsWith('redis:') ? WAKAME_TEST_REDIS_URL : WAKAME_TEST_RABBITMQ_URL);
      await tidy.channel().exchangeDelete(mailbox.exchange.name);
      await tidy.channel().exchangeDelete(mailbox.replyExchange.name);
      await tidy.close();
    });
  }
  return mailbox;
}
