import { createHash } from 'node:crypto';
import { createServer, type Server } from 'node:net';
import { LimitExceeded, MessagingError, NotSupportedError } from 'wakame';
import { noop } from 'wakame/util';
import type { OsloSettings } from './options.js';
import { hexId } from './wire/envelope.js';

/** What makes the name of a reply or fanout queue its owner's alone, for as long as that has it. */
export interface UniqueName {
  readonly text: string;
  release(): void;
}

type Manager = Pick<OsloSettings, 'use_queue_manager' | 'hostname' | 'processname'>;

/** More processes, or transports of one process, than this have their queues on one host under one process name: something goes on without end. */
const MOST = 10_000;

/**
 * A name that nobody else has: a random one, or with `use_queue_manager` one that a process has again when it is started anew, `<hostname>:<processname>:<n>`
 * with the lowest number that no other process of the host has. So its queues are found again, with what came meanwhile.
 *
 * A number is taken by listening on a socket of that name (Linux's abstract ones, Windows' named pipes), which no two processes can, and which the system takes
 * back when a process ends, however it ends. Rejects NOT_SUPPORTED elsewhere.
 */
export async function takeName({ use_queue_manager: isManaged, hostname, processname }: Manager): Promise<UniqueName> {
  if (!isManaged) return { text: hexId(), release: noop };
  const service = createHash('sha256').update(`${hostname}\0${processname}`).digest('hex').slice(0, 32);
  for (let n = 1; n <= MOST; n++) {
    const server = await listen(`${socketPrefix()}wakame-oslo-${service}-${n}`);
    if (server !== undefined) return { text: `${hostname}:${processname}:${n}`, release: () => server.close() };
  }
  throw new LimitExceeded(`${MOST} queues of '${processname}' are in use on this host`);
}

function socketPrefix(): string {
  if (process.platform === 'linux') return '\0';
  if (process.platform === 'win32') return '\\\\.\\pipe\\';
  throw new NotSupportedError('use_queue_manager needs sockets that vanish with their process: Linux or Windows');
}

/** Undefined: somebody else does. */
function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve, reject) => {
    // Nobody has anything to say here.
    const server = createServer((socket) => socket.destroy()).unref();
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(undefined);
      else reject(new MessagingError(`no name for a queue: ${error.message}`, { code: 'STORE_ERROR', cause: error }));
    });
    // Workers of a cluster would share it otherwise.
    server.listen({ path, exclusive: true }, () => resolve(server));
  });
}
