/** A browser for checks. */
import { existsSync } from 'node:fs';
import { canInstall, install } from './brokers/debian.ts';

const places = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** The program of a Chromium: the one that WAKAME_TEST_CHROMIUM names, one that is installed, or one that is installed now. */
export function chromium(): string {
  const named = process.env.WAKAME_TEST_CHROMIUM;
  if (named !== undefined) return named;
  const found = places.find((place) => existsSync(place));
  if (found !== undefined) return found;
  if (!canInstall()) {
    throw new Error('there is no Chromium: install it, or name its program in WAKAME_TEST_CHROMIUM');
  }
  console.log('installing chromium');
  install('chromium');
  return places[0] as string;
}
