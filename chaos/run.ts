/** One run, from the first worker to the last record. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Crew } from './crew/crew.ts';
import type { FaultKind } from './faults/fault.ts';
import type { Ledger } from './ledger/ledger.ts';
import { Progress } from './ledger/progress.ts';
import { now } from './ledger/records.ts';
import type { ChaosOptions } from './options.ts';
import { type Draw, kills, schedule } from './schedule.ts';
import type { Stand } from './stands/stand.ts';
import { within } from './within.ts';

/** Milliseconds until all workers must have begun. */
const LONGEST_START = 180_000;
/** Without any delivery, once nothing is published any more and not everything confirmed has been delivered. */
const LONGEST_SILENCE = 60_000;
/** A fault's beginning, and its end: a cluster takes its time until a node is one of it again. */
const LONGEST_STEP = 600_000;
/** Two kills a minute of every place, and at least as many for so many messages. */
const KILLS_A_SECOND = 1 / 5;
const MESSAGES_A_KILL = 450;

/** Runs the workers and the faults on a stand, and writes all of it down. */
export class Run {
  readonly #stand: Stand;
  readonly #options: ChaosOptions;
  readonly #ledger: Ledger;
  readonly #progress: Progress;
  readonly #crew: Crew;
  readonly #say: (text: string) => void;
  #faults = 0;

  /** @param folder Gets the log and what the workers say. */
  constructor(stand: Stand, options: ChaosOptions, folder: string, ledger: Ledger, say: (text: string) => void) {
    this.#stand = stand;
    this.#options = options;
    this.#ledger = ledger;
    this.#progress = new Progress(ledger);
    this.#crew = new Crew(stand.places, ledger, this.#progress, folder, options.seed);
    this.#say = say;
  }

  async run(): Promise<void> {
    const { seed, stand, minutes } = this.#options;
    const crew = this.#crew;
    this.#ledger.write({ event: 'run', stand, seed, rules: this.#stand.rules });
    try {
      crew.start();
      await this.#until('the workers to begin', LONGEST_START, () => this.#progress.isReady(crew.places));
      const duration = minutes * 60_000;
      await Promise.all([this.#hit(duration), this.#kill(duration)]);
      await this.#untilAtWork(now());
      this.#ledger.write({ event: 'last-call' });
      this.#say('the producers finish');
      await crew.finish('producer');
      // What is missing then the account will tell.
      await this.#untilDrained().catch((error: Error) => this.#say(error.message));
      this.#say('the consumers finish');
      await crew.finish('consumer');
    } finally {
      await crew.abandon();
    }
  }

  /** One fault after the other; none begins after the time is over. */
  async #hit(duration: number): Promise<void> {
    const kinds = new Map(this.#stand.faults(this.#crew).map((kind) => [kind.name, kind]));
    const end = performance.now() + duration;
    for (const draw of schedule(this.#options.seed, [...kinds.values()])) {
      await sleep(Math.min(draw.pause, Math.max(0, end - performance.now())));
      if (performance.now() >= end) return;
      const over = await this.#one(kinds.get(draw.kind) as FaultKind, draw);
      if (!draw.impatient) await this.#untilAtWork(over);
    }
  }

  async #one(kind: FaultKind, draw: Draw): Promise<number> {
    const fault = ++this.#faults;
    const { name, longest, crash = false, side = false } = kind;
    const prepared = kind.prepare(draw);
    const { targets, detail = '' } = prepared;
    const length = Math.round(draw.duration * longest);
    this.#say(`${name}${detail && ` (${detail})`}, ${length} ms: ${targets === 'all' ? 'all' : targets.join(', ')}`);
    await this.#crew.withdraw(targets);
    this.#ledger.write({ event: 'fault', fault, kind: name, targets, detail, crash, side });
    await within(`the beginning of fault ${fault}, ${name}`, LONGEST_STEP, Promise.resolve(prepared.begin()));
    await sleep(length);
    const end = await within(`the end of fault ${fault}, ${name}`, LONGEST_STEP, Promise.resolve(prepared.end()));
    const at = end ?? now();
    this.#ledger.write({ event: 'fault-over', fault, at });
    this.#crew.send(targets);
    return at;
  }

  async #kill(duration: number): Promise<void> {
    const { seed, messages } = this.#options;
    const count = Math.ceil(Math.max((duration / 1000) * KILLS_A_SECOND, messages / MESSAGES_A_KILL));
    const start = performance.now();
    for (const { at, target } of kills(seed, count, duration)) {
      await sleep(Math.max(0, start + at - performance.now()));
      await this.#crew.kill(target);
    }
  }

  /** Waits until everybody has been at work since then, as long as the rules allow; the account judges. */
  async #untilAtWork(since: number): Promise<void> {
    const isBack = () => this.#progress.isAtWorkSince(since, this.#crew.places);
    await this.#until('everybody to be at work', this.#stand.rules.patience + 5000, isBack).catch((error: Error) =>
      this.#say(error.message),
    );
  }

  /** However long it takes: a slow machine has a long queue. */
  async #untilDrained(): Promise<void> {
    // What the producers wrote last was not read yet.
    this.#progress.update();
    while (!this.#progress.isDrained) {
      const before = this.#progress.deliveries;
      const isOn = () => this.#progress.isDrained || this.#progress.deliveries > before;
      await this.#until('the rest', LONGEST_SILENCE, isOn);
    }
  }

  async #until(what: string, ms: number, condition: () => boolean): Promise<void> {
    const deadline = performance.now() + ms;
    for (;;) {
      this.#progress.update();
      if (condition()) return;
      if (performance.now() > deadline) throw new Error(`waited ${ms / 1000} s in vain for ${what}`);
      await sleep(100);
    }
  }
}
