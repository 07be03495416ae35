/** Kombu, in the Python environment that the interop tests use. */
import { fileURLToPath } from 'node:url';
import { make, peerPython, peerVersion } from '../../scripts/lib/peers/index.ts';

const program = fileURLToPath(new URL('../kombu/measure.py', import.meta.url));

export const kombuVersions = `kombu ${peerVersion('current', 'kombu')}, py-amqp ${peerVersion('current', 'amqp')}, redis-py ${peerVersion('current', 'redis')}`;

/** Makes the environment unless it stands. */
export async function fetchKombu(): Promise<void> {
  await make('current');
}

/** What measures one scenario of `kombu/measure.py`, as `Case.command`. To be asked for after {@link fetchKombu}. */
export function kombuCommand(
  scenario: string,
  url: string,
  { warmUp, measure, most }: { readonly warmUp: number; readonly measure: number; readonly most: number },
): readonly string[] {
  return [peerPython('current'), program, scenario, url, ...[warmUp, measure, most].map(String)];
}
