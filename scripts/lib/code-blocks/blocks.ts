/**
 * The TypeScript of Markdown pages as programs. A block is a program by itself, unless a comment before it says otherwise, which readers do not
 * see:
 *
 * ```
 *   <!-- code: given            lines that stand before the block
 *   const n = 1;
 *   -->
 *   <!-- code: continues -->    the block goes on where the block before it ended
 *   <!-- code: types only -->   it is not run, but its types are checked
 * ```
 *
 * Lines at a block's end after `// Prints:` are what it has to print.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../../setup.mjs';

/** A line of a program, and where it comes from. */
export interface Line {
  readonly text: string;
  /** From 1. */
  readonly number: number;
}

export interface Program {
  /** The page, from the root of the repository. */
  readonly page: string;
  /** The first line of the (last) block. */
  readonly line: number;
  readonly lines: readonly Line[];
  readonly run: boolean;
}

interface Block {
  readonly lines: readonly Line[];
  readonly given: readonly Line[];
  readonly continues: boolean;
  readonly run: boolean;
}

const DIRECTIVES = ['given', 'continues', 'types only'];

/** The programs of a page. One that is continued is part of the one that continues it. */
export function programsOf(page: string, text = readFileSync(join(root, page), 'utf8')): Program[] {
  const programs: Program[] = [];
  for (const block of blocksOf(page, text)) {
    const former = block.continues ? programs.pop() : undefined;
    const line = block.lines[0]?.number ?? 0;
    if (block.continues && former === undefined) throw new Error(`${page}:${line}: there is no block to continue`);
    const lines = [...(former?.lines ?? []), ...block.given, ...block.lines];
    programs.push({ page, line, lines, run: block.run && (former?.run ?? true) });
  }
  return programs;
}

function blocksOf(page: string, text: string): Block[] {
  const lines = text.split('\n').map((line, index) => ({ text: line, number: index + 1 }));
  const blocks: Block[] = [];
  let given: Line[] = [];
  let said = new Set<string>();
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] as Line;
    const directive = /^<!-- code: ([a-z ]+?)( -->)?$/.exec(line.text);
    if (directive !== null) {
      const [, name = '', closed] = directive;
      if (!DIRECTIVES.includes(name) || (name === 'given') === (closed !== undefined)) {
        throw new Error(`${page}:${line.number}: code: is followed by one of ${DIRECTIVES.join(', ')}`);
      }
      said.add(name);
      if (name !== 'given') continue;
      const end = lines.findIndex(({ text }, index) => index > at && text === '-->');
      given = lines.slice(at + 1, end);
      at = end;
      continue;
    }
    const fence = /^(\s*)(`{3,})(\w*)/.exec(line.text);
    if (fence === null) {
      if (line.text.trim() !== '' && said.size > 0)
        throw new Error(`${page}:${line.number}: code: has no block after it`);
      continue;
    }
    const [, indent = '', mark = '', language] = fence;
    const end = lines.findIndex(({ text }, index) => index > at && text.trim() === mark);
    if (language === 'ts') {
      const inner = lines.slice(at + 1, end).map(({ text, number }) => ({ text: text.slice(indent.length), number }));
      blocks.push({ lines: inner, given, continues: said.has('continues'), run: !said.has('types only') });
    }
    given = [];
    said = new Set();
    at = end;
  }
  return blocks;
}

/** What a program says that it prints. */
export function printsOf(program: Program): string | undefined {
  const at = program.lines.findLastIndex(({ text }) => text === '// Prints:');
  if (at === -1) return undefined;
  const said = program.lines.slice(at + 1).map(({ text }) => text);
  return said
    .map((text) => text.replace(/^\/\/ ?/, ''))
    .join('\n')
    .trim();
}
