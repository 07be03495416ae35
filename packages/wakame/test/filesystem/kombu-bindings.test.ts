/** The file of bindings that is shared with Python, while others are about to write to it. */
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, expect, onTestFinished, test } from 'vitest';
import { type LockMode, loadFlock } from '../../src/transports/filesystem/flock.js';
import { changeBindings, readBindings } from '../../src/transports/filesystem/kombu-bindings.js';
import { Locks } from '../../src/transports/filesystem/locks.js';
import { temporaryFolder } from './support.js';

const folder = temporaryFolder();
const binding = { routingKey: 'k', pattern: '', queue: 'q' };
let locks: Locks;
let files = 0;
beforeAll(async () => {
  locks = new Locks(folder, await loadFlock(), 5000);
});

/** A file with that in it, open. */
async function fileWith(text: string): Promise<{ file: string; handle: FileHandle }> {
  const file = join(folder, `${++files}.exchange`);
  const handle = await open(file, 'w+');
  onTestFinished(() => handle.close());
  await handle.write(text, 0);
  return { file, handle };
}

test('what is written is read', async () => {
  const { file } = await fileWith('');
  await changeBindings(file, locks, false, () => [binding]);
  expect(await readBindings(file, locks)).toEqual([binding]);
  await changeBindings(file, locks, false, () => []);
  expect(await readBindings(file, locks)).toEqual([]);
});

test.each([
  ['empty, as it was just made', ''],
  ['no list yet', '[["k", "", '],
])('who reads a file that is %s lets the one write who is about to', async (_state, text) => {
  const { file, handle } = await fileWith(text);
  const locked = Promise.withResolvers<void>();
  const lock = (reader: FileHandle, mode: LockMode) => locks.lock(reader, mode).then(locked.resolve);
  const reading = readBindings(file, { lock } as Locks);
  const writing = (async () => {
    await locked.promise;
    await locks.lock(handle, 'exclusive');
    await handle.write(JSON.stringify([['k', '', 'q']]), 0);
    await handle.close();
  })();
  expect(await reading).toEqual([binding]);
  await writing;
});

test('a file whose maker died before writing has no bindings', async () => {
  const { file } = await fileWith('');
  expect(await readBindings(file, locks)).toEqual([]);
});

test('what stays no list is DECODE_FAILED', async () => {
  const { file } = await fileWith('{"no": "list"}');
  await expect(readBindings(file, locks)).rejects.toMatchObject({ code: 'DECODE_FAILED' });
});
