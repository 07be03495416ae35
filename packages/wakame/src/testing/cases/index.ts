import type { ConformanceCase } from '../types.js';
import { catalog } from './catalog.js';
import { consuming } from './consuming.js';
import { entities } from './entities.js';
import { handlers } from './handlers.js';
import { iterating } from './iterating.js';
import { lifecycle } from './lifecycle.js';
import { limits } from './limits.js';
import { load } from './load.js';
import { mailboxes } from './mailboxes.js';
import { messages } from './messages.js';
import { processes } from './processes.js';
import { publishing } from './publishing.js';
import { recovery, restarts } from './recovery.js';
import { routing } from './routing.js';
import { settling } from './settling.js';
import { simple } from './simple.js';

/** Every case, by topic: what is used most comes first. */
export const conformanceCases: readonly ConformanceCase[] = [
  ...entities,
  ...catalog,
  ...publishing,
  ...messages,
  ...routing,
  ...consuming,
  ...iterating,
  ...settling,
  ...handlers,
  ...limits,
  ...lifecycle,
  ...simple,
  ...mailboxes,
  ...recovery,
  ...processes,
  ...load,
  ...restarts,
];
