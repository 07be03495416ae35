import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { Heap } from '../../src/transports/memory/heap.js';

const heapOf = (items: readonly number[]) => {
  const heap = new Heap<number>((a, b) => a < b);
  for (const item of items) heap.push(item);
  return heap;
};

const drain = (heap: Heap<number>) => {
  const items: number[] = [];
  while (heap.size > 0) items.push(heap.pop() as number);
  return items;
};

test('gives its items in order, whatever order they came in', () => {
  void fc.assert(
    fc.property(fc.array(fc.integer()), (items) => {
      expect(drain(heapOf(items))).toEqual([...items].sort((a, b) => a - b));
    }),
  );
});

test('keeps its order when items are taken between', () => {
  void fc.assert(
    fc.property(fc.array(fc.option(fc.integer(), { nil: undefined })), (steps) => {
      const heap = heapOf([]);
      let model: number[] = [];
      for (const step of steps) {
        if (step !== undefined) {
          heap.push(step);
          model = [...model, step].sort((a, b) => a - b);
        } else {
          expect(heap.pop()).toBe(model.shift());
        }
        expect(heap.peek()).toBe(model[0]);
        expect(heap.size).toBe(model.length);
      }
    }),
  );
});

test('retain keeps what it is told to, in order', () => {
  void fc.assert(
    fc.property(fc.array(fc.integer()), (items) => {
      const heap = heapOf(items);
      heap.retain((item) => item % 2 === 0);
      expect(drain(heap)).toEqual(items.filter((item) => item % 2 === 0).sort((a, b) => a - b));
    }),
  );
});
