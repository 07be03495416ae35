import { join } from 'node:path';
import { loadFlock } from '../../src/transports/filesystem/flock.js';
import { FilesystemDriver } from '../../src/transports/filesystem/index.js';
import { Locks } from '../../src/transports/filesystem/locks.js';
import { driverContract } from '../virtual/driver-contract.js';
import { filesystemParameters, storeOptions, temporaryFolder } from './support.js';

const folder = temporaryFolder();
let stores = 0;

function newStore(options: Readonly<Record<string, unknown>> = {}) {
  const folders = storeOptions(join(folder, `${++stores}`));
  return { folders, parameters: filesystemParameters({ ...folders, lease: 0.6, fsync: false, ...options }) };
}

driverContract('filesystem', {
  createDriver: () => new FilesystemDriver(),
  emptyStore: () => newStore().parameters,
  fragileStore: async () => {
    const { folders, parameters } = newStore({ read_timeout: 0.1 });
    const locks = new Locks(join(folders.control_folder, 'wakame'), await loadFlock(), 1000);
    let unlock: (() => void) | undefined;
    const lose = () =>
      new Promise<void>((locked) => {
        void locks.alone(() => {
          locked();
          return new Promise<void>((resolve) => {
            unlock = resolve;
          });
        });
      });
    // An opening has to do with the lock when it finds consumers of the incarnation before.
    return { parameters, lose, breaks: [lose], restore: () => unlock?.() };
  },
  lacks: { lease: 600 },
});
