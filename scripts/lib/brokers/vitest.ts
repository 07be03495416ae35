/**
 * vitest's global setup: tests find the brokers of this checkout in their environment. It starts none: `npm test` does, and
 * `scripts/brokers up` for those who run vitest by themselves.
 */
import { brokers, howToProvide, status } from './index.ts';

export async function setup(): Promise<void> {
  for (const broker of brokers) {
    const { state, variables } = await status(broker);
    Object.assign(process.env, variables);
    if (state === 'stopped') {
      const how = broker.isInstalled() ? 'Start it: scripts/brokers up' : howToProvide(broker);
      console.warn(`${broker.title} is not running, so the tests that need it will fail. ${how}\n`);
    }
  }
}
