/**
 * Where everything lies. Kombu's own folders, and ours within them, whose names Kombu takes for nothing of its own:
 *
 * ```
 *  data_folder_in/                 messages ready to be taken
 *    .wakame/held/<holder>/        taken: each under its own name and when it was taken; renaming it is the taking
 *    .wakame/later/                not yet to be taken, by their times
 *    .wakame/over/                 pushed out of full queues, to be dead-lettered
 *    .wakame/temp/                 being written
 *  control_folder/
 *    <exchange>.exchange           Kombu's bindings
 *    wakame/queues/                options and consumers
 *    wakame/exchanges/             types, and bindings that Kombu has no place for
 *    wakame/holders/               who is alive: the time of each file
 * ```
 */
import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { VhostNotFoundError } from '../../errors.js';
import { codeOf } from './files.js';
import type { FilesystemOptions } from './options.js';

/** A folder of messages. */
export interface DataFolder {
  readonly ready: string;
  readonly held: string;
  readonly later: string;
  readonly over: string;
  readonly temp: string;
}

export interface Layout {
  /** Where messages are taken from, and where they are written to: the same one, as a rule. */
  readonly source: DataFolder;
  readonly target: DataFolder;
  readonly control: string;
  readonly own: string;
  readonly queues: string;
  readonly exchanges: string;
  readonly holders: string;
  readonly temp: string;
}

function dataFolder(ready: string): DataFolder {
  const own = join(ready, '.wakame');
  return {
    ready,
    held: join(own, 'held'),
    later: join(own, 'later'),
    over: join(own, 'over'),
    temp: join(own, 'temp'),
  };
}

/** Makes what is ours. Rejects with VHOST_NOT_FOUND when Kombu's folders of messages are not there: a name may be mistaken. */
export async function makeLayout({ dataIn, dataOut, control, processed }: FilesystemOptions): Promise<Layout> {
  await mustExist('data_folder_in', dataIn);
  await mustExist('data_folder_out', dataOut);
  const own = join(control, 'wakame');
  const layout: Layout = {
    ...{ source: dataFolder(dataIn), target: dataFolder(dataOut), control, own },
    ...{ queues: join(own, 'queues'), exchanges: join(own, 'exchanges'), holders: join(own, 'holders') },
    temp: join(own, 'temp'),
  };
  const { source, target, queues, exchanges, holders, temp } = layout;
  const folders = [source, target].flatMap((data) => [data.held, data.later, data.over, data.temp]);
  if (processed !== undefined) folders.push(processed);
  for (const folder of [...folders, queues, exchanges, holders, temp]) await mkdir(folder, { recursive: true });
  return layout;
}

async function mustExist(option: string, folder: string): Promise<void> {
  let found = false;
  try {
    found = (await stat(folder)).isDirectory();
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' && codeOf(error) !== 'ENOTDIR') throw error;
  }
  if (!found) throw new VhostNotFoundError(`filesystem: ${option} is no folder: ${folder}`);
}
