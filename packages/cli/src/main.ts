#!/usr/bin/env node
import { runCommandLine } from './run.js';

// A reader that has gone away (`wakame --help | head -1`) is no reason for a crash; commands learn of it by what they write.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
process.exitCode = await runCommandLine(process.argv.slice(2), process);
