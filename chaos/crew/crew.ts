/** The workers: one in each place, replaced when it dies. */
import type { Ledger } from '../ledger/ledger.ts';
import type { Progress } from '../ledger/progress.ts';
import { Random } from '../random.ts';
import type { Place } from './place.ts';
import { WorkerProcess } from './worker-process.ts';

interface Post {
  readonly place: Place;
  lives: number;
  current: WorkerProcess | undefined;
  /** Nobody follows who ends from now on. */
  closed: boolean;
}

export class Crew {
  readonly #posts: readonly Post[];
  readonly #ledger: Ledger;
  readonly #progress: Progress;
  readonly #folder: string;
  readonly #random: Random;
  #startedAt = 0;

  constructor(places: readonly Place[], ledger: Ledger, progress: Progress, folder: string, seed: number) {
    this.#posts = places.map((place) => ({ place, lives: 0, current: undefined, closed: false }));
    this.#ledger = ledger;
    this.#progress = progress;
    this.#folder = folder;
    this.#random = new Random(seed ^ 0x2545f491);
  }

  get places(): readonly string[] {
    return this.#posts.map(({ place }) => place.name);
  }

  start(): void {
    this.#startedAt = performance.now();
    for (const post of this.#posts) this.#occupy(post);
  }

  /** The places whose workers may be treated in any way. */
  get robust(): readonly string[] {
    return this.#posts.filter(({ place }) => !place.fragile).map(({ place }) => place.name);
  }

  /** The process at work in a place now. */
  at(name: string): WorkerProcess | undefined {
    return this.#posts.find(({ place }) => place.name === name)?.current;
  }

  /** Kills one worker, chosen by a fraction of them: the producers are chosen a third as often. */
  async kill(fraction: number): Promise<void> {
    const tickets = this.#posts
      .filter(({ place }) => !place.fragile)
      .flatMap((post) => (post.place.role === 'producer' ? [post] : [post, post, post]));
    const post = tickets[Math.floor(fraction * tickets.length)];
    await post?.current?.kill();
  }

  /** Lets the fragile workers in these places finish before something happens to them; resolves when they are gone. */
  async withdraw(places: readonly string[] | 'all'): Promise<void> {
    const posts = this.#fragile(places);
    for (const post of posts) post.closed = true;
    await Promise.all(posts.map((post) => post.current?.finish()));
  }

  /** Has them begin again. */
  send(places: readonly string[] | 'all'): void {
    for (const post of this.#fragile(places)) {
      post.closed = false;
      this.#occupy(post);
    }
  }

  #fragile(places: readonly string[] | 'all'): Post[] {
    return this.#posts.filter(({ place }) => place.fragile && (places === 'all' || places.includes(place.name)));
  }

  /** Lets the workers of a role finish; resolves when they are gone. */
  async finish(role: Place['role']): Promise<void> {
    const posts = this.#posts.filter(({ place }) => place.role === role);
    for (const post of posts) post.closed = true;
    await Promise.all(posts.map((post) => post.current?.finish()));
  }

  /** Ends them all, whatever they are doing. */
  async abandon(): Promise<void> {
    for (const post of this.#posts) post.closed = true;
    await Promise.all(this.#posts.map(({ current }) => current?.abandon()));
  }

  #occupy(post: Post): void {
    post.lives += 1;
    const { place } = post;
    const seed = Math.floor(this.#random.next() * 2 ** 31);
    const own = place.role === 'producer' ? { owed: this.#owed(place.name, place.task.perSecond) } : {};
    const worker = new WorkerProcess(
      place,
      `${place.name}.${post.lives}`,
      { ...place.task, ...own, seed },
      this.#ledger,
      this.#folder,
    );
    post.current = worker;
    void worker.ended.then(() => {
      if (!post.closed) this.#occupy(post);
    });
  }

  /** What the place should have published by now, and has not. */
  #owed(name: string, perSecond: number): number {
    const due = ((performance.now() - this.#startedAt) / 1000) * perSecond;
    return Math.max(0, Math.floor(due) - this.#progress.published(name));
  }
}
