import { AccessRefused, MessagingError, RecoverableConnectionError, StoreError } from '../../errors.js';
import { codeOf } from './files.js';

/** After these no other call will succeed: a folder is gone, or its disk. What is missing of single files is told apart before. */
const LOST: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EIO', 'ESTALE', 'ENODEV', 'ENXIO', 'ENOTCONN']);
const REFUSED: ReadonlySet<string> = new Set(['EACCES', 'EPERM', 'EROFS']);

export function isLoss(error: unknown): boolean {
  if (error instanceof MessagingError) return error instanceof RecoverableConnectionError;
  return LOST.has(codeOf(error) ?? '');
}

/** The typed error for one of the system's. */
export function classify(error: unknown): MessagingError {
  if (error instanceof MessagingError) return error;
  const message = `filesystem: ${error instanceof Error ? error.message : String(error)}`;
  const code = codeOf(error) ?? '';
  if (LOST.has(code)) return new RecoverableConnectionError(message, { code: 'CONNECTION_LOST', cause: error });
  if (REFUSED.has(code)) return new AccessRefused(message, { cause: error });
  return new StoreError(message, { cause: error });
}
