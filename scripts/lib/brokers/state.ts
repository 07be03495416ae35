import { join } from 'node:path';
import { root } from '../../setup.mjs';

/** The folder of everything that brokers of this checkout write. */
export const stateFolder = process.env.WAKAME_BROKERS_FOLDER ?? join(root, '.brokers');
