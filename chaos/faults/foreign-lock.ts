import { setTimeout as sleep } from 'node:timers/promises';
import type { FaultKind } from './fault.ts';

/** Takes the lock of a store that is a file, as another program might; resolves with how to let it go. */
export type HoldLock = () => Promise<() => void>;

/** Milliseconds for which it is held, or free, when it is taken again and again. */
const TURN = 150;

/** Another program holds the lock that everybody needs: all the time, or again and again. */
export function foreignLock(hold: HoldLock): FaultKind {
  return {
    ...{ name: 'foreign lock', weight: 3, longest: 8000 },
    prepare: ({ direction }) => {
      let isOver = false;
      let holding: Promise<void> | undefined;
      let release: (() => void) | undefined;
      const inTurns = async () => {
        while (!isOver) {
          const letGo = await hold();
          await sleep(TURN);
          letGo();
          await sleep(TURN);
        }
      };
      const isConstant = direction < 0.6;
      return {
        targets: 'all',
        detail: isConstant ? 'held' : 'in turns',
        begin: async () => {
          if (isConstant) release = await hold();
          else holding = inTurns();
        },
        end: async () => {
          isOver = true;
          release?.();
          await holding;
          return undefined;
        },
      };
    },
  };
}
