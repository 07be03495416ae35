import type { Connection as Client } from '@wakame/amqp';
import { RecoverableConnectionError } from '../../errors.js';

/** Looks in one timeout. */
const LOOKS = 4;

/**
 * py-amqp's `write_timeout`: drops a connection whose peer has taken nothing for `timeout` milliseconds though bytes wait for it. One that the
 * broker says to be blocked is left alone: that is the affair of `blocked_connection_timeout`.
 */
export function watchForStall(client: Client, timeout: number): void {
  let sent = client.bytesSent;
  let buffered = 0;
  let stalled = 0;
  const look = () => {
    const moved = client.bytesSent !== sent || client.bufferedBytes < buffered;
    const waits = client.bufferedBytes > 0 && client.blocked === undefined;
    stalled = waits && !moved ? stalled + 1 : 0;
    sent = client.bytesSent;
    buffered = client.bufferedBytes;
    if (stalled < LOOKS) return;
    const problem = `connection to ${client.host} lost: the peer read nothing for ${timeout} ms (write_timeout)`;
    client.abort(new RecoverableConnectionError(problem, { host: client.host }));
  };
  const timer = setInterval(look, Math.max(1, timeout / LOOKS)).unref();
  client.once('close', () => clearInterval(timer));
}
