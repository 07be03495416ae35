import { join } from 'node:path';
import { FilesystemDriver } from '../../src/transports/filesystem/index.js';
import { driverContract } from '../virtual/driver-contract.js';
import { filesystemParameters, storeOptions, temporaryFolder } from './support.js';

const folder = temporaryFolder();
let stores = 0;

driverContract('filesystem', {
  createDriver: () => new FilesystemDriver(),
  emptyStore: () => filesystemParameters({ ...storeOptions(join(folder, `${++stores}`)), lease: 0.6, fsync: false }),
  lacks: { lease: 600 },
});
