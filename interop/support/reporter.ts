/**
 * Makes the matrix of the interop tests, prints it, and compares it with docs/interop.md; WAKAME_INTEROP_WRITE=1 writes that file.
 * Says nothing when no interop test was run.
 */
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import type { Reporter, TestCase, TestModule } from 'vitest/node';
import { root } from '../../scripts/setup.mjs';
import { columnsBeside } from './columns.ts';
import type { Cell } from './matrix.ts';
import { type Area, document, inOrder, plainTable } from './tables.ts';

const file = join(root, 'docs', 'interop.md');

export default class InteropReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    const ran = modules.filter((module) => nameOf(module).startsWith('interop/'));
    const areas = inOrder(ran.flatMap(areaOf));
    if (areas.length === 0) return;
    console.log(`\n${plainTable(areas)}`);
    const all = globSync('interop/*.test.ts', { cwd: root }).length;
    const tests = ran.flatMap((module) => [...module.children.allTests()]);
    // The page tells of a whole run in which everything held.
    if (ran.length < all || !tests.every((test) => test.result().state === 'passed')) return;
    const text = document(areas);
    if (process.env.WAKAME_INTEROP_WRITE === '1') writeFileSync(file, text);
    else if (readFileSync(file, 'utf8') !== text) {
      console.error('docs/interop.md is not what these tests say: WAKAME_INTEROP_WRITE=1 npm test -- interop/');
      process.exitCode = 1;
    }
  }
}

function nameOf(module: TestModule): string {
  return relative(root, module.moduleId).split(sep).join('/');
}

/** The cells of a file. What the area is called stands first in its groups' names. */
function areaOf(module: TestModule): Area[] {
  const tests = [...module.children.allTests()];
  const cells = tests.flatMap((test) => cellOf(test) ?? []);
  const first = tests.find((test) => test.meta().interop !== undefined);
  const group = first?.parent.type === 'suite' ? first.parent.name : '';
  const [any] = cells;
  if (any === undefined) return [];
  return [{ title: group.split(':')[0] ?? '', columns: columnsBeside(any.column), cells }];
}

function cellOf(test: TestCase): (Cell & { passed: boolean }) | undefined {
  const cell = test.meta().interop;
  return cell === undefined ? undefined : { ...cell, passed: test.result().state === 'passed' };
}
