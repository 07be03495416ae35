/**
 * For `node --import`: kills the process (SIGKILL) at the moment before its n-th deed, n being WAKAME_TEST_KILL_AT. A deed is whatever changes
 * something outside of the process: a piece written to a socket, a transaction of SQLite committed. Between two of them nobody could tell
 * when it was killed, so these are all the instants there are. A process that lives to its end tells their number on standard error.
 */
import { writeSync } from 'node:fs';
import { Socket } from 'node:net';
import { StatementSync } from 'node:sqlite';

const last = Number(process.env.WAKAME_TEST_KILL_AT ?? 0);
let deeds = 0;

function deed(): void {
  deeds++;
  if (deeds === last) process.kill(process.pid, 'SIGKILL');
}

type Writing = (this: Socket, ...args: unknown[]) => void;
const sockets = Socket.prototype as unknown as Record<'_write' | '_writev', Writing>;
for (const name of ['_write', '_writev'] as const) {
  const write = sockets[name];
  sockets[name] = function (...args) {
    // Not what is written to standard output.
    if (this.remoteAddress !== undefined || this.connecting) deed();
    write.apply(this, args);
  };
}

const statements = StatementSync.prototype as { run(this: StatementSync, ...values: never[]): unknown };
const { run } = statements;
statements.run = function (...values) {
  if (this.sourceSQL === 'COMMIT') deed();
  return run.apply(this, values);
};

process.on('exit', () => writeSync(2, `deeds: ${deeds}\n`));
