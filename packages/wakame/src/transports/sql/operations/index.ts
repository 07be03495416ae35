import type { Context } from '../context.js';
import { Consumers } from './consumers.js';
import { Hints } from './hints.js';
import { Lifecycle } from './lifecycle.js';
import { Queues } from './queues.js';
import { Routing } from './routing.js';
import { Settling } from './settling.js';
import { Storing } from './storing.js';
import { Sweeping } from './sweeping.js';
import { Taking } from './taking.js';

/** Everything that can be done in the database, each with its statements ready. */
export class Operations {
  readonly storing: Storing;
  readonly taking: Taking;
  readonly settling: Settling;
  readonly lifecycle: Lifecycle;
  readonly consumers: Consumers;
  readonly routing: Routing;
  readonly sweeping: Sweeping;
  readonly hints: Hints;

  constructor(context: Context) {
    const queues = new Queues(context);
    this.routing = new Routing(context);
    this.storing = new Storing(context, queues);
    this.taking = new Taking(context, queues, this.storing);
    this.settling = new Settling(context, queues, this.storing);
    this.lifecycle = new Lifecycle(context, queues, this.storing, this.routing);
    this.consumers = new Consumers(context, queues, this.lifecycle);
    this.sweeping = new Sweeping(context, { queues, ...this });
    this.hints = new Hints(context);
  }
}
