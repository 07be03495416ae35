import { checkLayers } from '../layers.ts';

/** The arrows between layers. */
export async function layers(): Promise<void> {
  const found = checkLayers();
  for (const { file, line, message } of found) console.error(`${file}:${line} ${message}`);
  if (found.length > 0) throw new Error(`${found.length} imports against the layers`);
}
