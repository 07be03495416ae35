/** A plot with logarithmic axes, as SVG that reads on light and dark pages. */
import { short } from '../lib/table.ts';

export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

export interface Labels {
  readonly title: string;
  readonly x: string;
  readonly y: string;
}

const WIDTH = 640;
const HEIGHT = 360;
const LEFT = 70;
const RIGHT = 130;
const TOP = 40;
const BOTTOM = 50;
const COLOURS = ['#1a73e8', '#c5221f', '#188038', '#9334e6', '#b06000'];
const GREY = '#888888';

/** Powers of ten around the values. */
function decades(values: readonly number[]): readonly [from: number, to: number] {
  const from = Math.floor(Math.log10(Math.min(...values)) + 1e-9);
  return [from, Math.max(Math.ceil(Math.log10(Math.max(...values)) - 1e-9), from + 1)];
}

export function plot({ title, x, y }: Labels, lines: readonly Line[]): string {
  const [x0, x1] = decades(lines.flatMap(({ points }) => points.map(([at]) => at)));
  const [y0, y1] = decades(lines.flatMap(({ points }) => points.map(([, value]) => value)));
  const [right, bottom] = [WIDTH - RIGHT, HEIGHT - BOTTOM];
  const atX = (value: number) => round(LEFT + ((Math.log10(value) - x0) / (x1 - x0)) * (right - LEFT));
  const atY = (value: number) => round(bottom - ((Math.log10(value) - y0) / (y1 - y0)) * (bottom - TOP));
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<title>${title}</title>`,
    text(LEFT, 22, title, 'start', 15),
    text((LEFT + right) / 2, HEIGHT - 12, x),
    `<g transform="rotate(-90 16 ${(TOP + bottom) / 2})">${text(16, (TOP + bottom) / 2, y)}</g>`,
  ];
  for (let power = x0; power <= x1; power++) {
    parts.push(rule(atX(10 ** power), TOP, atX(10 ** power), bottom));
    parts.push(text(atX(10 ** power), bottom + 18, tick(power)));
  }
  for (let power = y0; power <= y1; power++) {
    parts.push(rule(LEFT, atY(10 ** power), right, atY(10 ** power)));
    parts.push(text(LEFT - 8, atY(10 ** power) + 4, tick(power), 'end'));
  }
  lines.forEach(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const path = points.map(([at, value]) => `${atX(at)},${atY(value)}`).join(' ');
    parts.push(`<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`);
    for (const [at, value] of points) {
      const told = `${name}: ${short(value)} at ${at}`;
      parts.push(`<circle cx="${atX(at)}" cy="${atY(value)}" r="3.5" fill="${colour}"><title>${told}</title></circle>`);
    }
    const end = points.at(-1);
    if (end !== undefined) parts.push(text(right + 8, atY(end[1]) + 4, name, 'start', 12, colour));
  });
  return `${parts.join('\n')}\n</svg>\n`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function tick(power: number): string {
  if (power < 0) return (10 ** power).toFixed(-power);
  return power >= 6 ? `${10 ** (power - 6)}M` : power >= 3 ? `${10 ** (power - 3)}k` : String(10 ** power);
}

function text(x: number, y: number, content: string, anchor = 'middle', size = 12, colour = GREY): string {
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" font-size="${size}" fill="${colour}">${content}</text>`;
}

function rule(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="${GREY}" stroke-opacity="0.3"/>`;
}
