import { type MessagingError, RecoverableConnectionError } from '../../errors.js';

/** What a classified error is when it came before the connection was open: a loss is a connection that could not be made. */
export function asConnectError(classified: MessagingError): MessagingError {
  if (classified.code !== 'CONNECTION_LOST') return classified;
  return new RecoverableConnectionError(classified.message, { code: 'CONNECT_FAILED', cause: classified.cause });
}

/** Whether the code is one of Node's, or of the client on top of it, for a failure of TLS. */
export function isTlsCode(code: unknown): boolean {
  return (
    typeof code === 'string' &&
    /^(ERR_TLS|ERR_SSL|HANDSHAKE_SSL|HANDSHAKE_NO_SSL|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|CERT_)/.test(code)
  );
}
