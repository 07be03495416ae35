/** A kind of fault: one file each, beside this one. */
import type { Link } from '../crew/place.ts';
import type { Draw } from '../schedule.ts';

export interface FaultKind {
  readonly name: string;
  /** How often it occurs in each round of the schedule. */
  readonly weight: number;
  /** Milliseconds that it lasts at most; 0 for what is over at once. */
  readonly longest: number;
  /** The broker loses what it has not written down. Default false. */
  readonly crash?: boolean | undefined;
  /** It ends the consumption of the side queues. Default false. */
  readonly side?: boolean | undefined;
  /** One fault of this kind, decided but not yet done. */
  prepare(draw: Draw): PreparedFault;
}

export interface PreparedFault {
  /** The places of the workers that it hits. */
  readonly targets: readonly string[] | 'all';
  /** For the log. */
  readonly detail?: string | undefined;
  begin(): Promise<void> | void;
  /** Undoes it. Resolves with the time at which it was over, when that was before the end of this. */
  end(): Promise<number | undefined> | undefined;
}

/** Those of one worker, or, where there are several servers, those to one of them; in three of ten cases all. */
export function chooseLinks(links: readonly Link[], { target }: Draw): readonly Link[] {
  if (target >= 0.7) return links;
  const servers = Map.groupBy(links, ({ server }) => server);
  const places = Map.groupBy(links, ({ place }) => place);
  const groups = [...places.values(), ...(servers.size > 1 ? servers.values() : [])];
  return groups[Math.floor((target / 0.7) * groups.length)] ?? links;
}

export function placesOf(links: readonly Link[]): readonly string[] {
  return [...new Set(links.map(({ place }) => place))];
}

/** Something about links that is set and taken back. */
export function linkFault(
  links: readonly Link[],
  act: {
    readonly detail?: string | undefined;
    begin(link: Link): Promise<void> | void;
    end?(link: Link): Promise<void> | void;
  },
): PreparedFault {
  const each = async (step: ((link: Link) => Promise<void> | void) | undefined) => {
    await Promise.all(links.map((link) => step?.(link)));
    return undefined;
  };
  return {
    targets: placesOf(links),
    detail: act.detail,
    begin: async () => {
      await each((link) => act.begin(link));
    },
    end: () => each((link) => act.end?.(link)),
  };
}

/** From the draw's `direction`: either one, or both. */
export function direction(draw: Draw): 'toBroker' | 'toClient' | 'both' {
  return (['toBroker', 'toClient', 'both'] as const)[Math.floor(draw.direction * 3)] ?? 'both';
}
