import { defineVirtualTransport } from '../virtual/index.js';
import { FilesystemDriver } from './driver.js';
import { DURATION_OPTIONS, FILESYSTEM_OPTIONS } from './options.js';

export { FilesystemDriver } from './driver.js';

/** `filesystem://`: folders of files, in Kombu's layout. See docs/guides/filesystem.md. */
export const transportModule = defineVirtualTransport({
  name: 'filesystem',
  createDriver: () => new FilesystemDriver(),
  transportOptions: FILESYSTEM_OPTIONS,
  durationOptions: DURATION_OPTIONS,
});
