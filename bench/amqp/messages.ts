/** What the scenarios send. */
import type { Properties } from './wire.ts';

const id = '0b7f2c5e-9d0e-4f0e-8a63-3f7f5a3c1d2b';

/** As Celery's task messages have them. */
export const celeryProperties = {
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  headers: {
    lang: 'py',
    task: 'proj.tasks.add',
    id,
    shadow: null,
    eta: null,
    expires: null,
    group: null,
    group_index: null,
    retries: 0,
    timelimit: [null, null],
    root_id: id,
    parent_id: null,
    argsrepr: '(2, 2)',
    kwargsrepr: '{}',
    origin: 'gen4711@host.example',
    ignore_result: false,
  },
  deliveryMode: 2,
  priority: 0,
  correlationId: id,
  replyTo: '9f1a8c3e-2b7d-3c55-a0f4-5d6e7f809a1b',
} as const satisfies Properties;

/** An object whose JSON has about 200 bytes. */
export const jsonObject = {
  id: 4711,
  name: 'lolcat.avi',
  size: 1_301_013,
  tags: ['cat', 'funny', 'video'],
  owner: { id: 17, name: 'Grace Hopper', mail: 'grace@example.org' },
  created: '2026-11-21T12:00:00Z',
  public: true,
  rating: 4.75,
};
/** The body of such a message: arguments, and what is to be done next. 1 KiB. */
export const celeryBody: Buffer = Buffer.from(
  JSON.stringify([[2, 2], { text: 'x'.repeat(936) }, { callbacks: null, errbacks: null, chain: null, chord: null }]),
);
export const jsonText: string = JSON.stringify(jsonObject);
