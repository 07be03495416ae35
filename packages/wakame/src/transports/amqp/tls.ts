/**
 * TLS options as Kombu and py-amqp name them, beside Node's own.
 */
import { parseUrl, type TlsOptions } from '@wakame/amqp';
import { InvalidArgumentError } from '../../errors.js';
import type { ConnectionParameters } from '../../transport/contract.js';
import { didYouMean } from '../../util/nearest.js';
import { warnOnce } from '../../util/warnings.js';

/** Options of Node's `tls.connect`, and the client's for files. */
const NODE_OPTIONS: ReadonlySet<string> = new Set([
  ...['ca', 'caFile', 'cert', 'certFile', 'key', 'keyFile', 'passphrase', 'pfx', 'crl', 'servername', 'session'],
  ...['rejectUnauthorized', 'checkServerIdentity', 'allowPartialTrustChain', 'minVersion', 'maxVersion', 'ciphers'],
  ...['secureProtocol', 'secureOptions', 'secureContext', 'ecdhCurve', 'sigalgs', 'dhparam', 'minDHSize'],
  ...['ALPNProtocols', 'honorCipherOrder', 'pskCallback', 'enableTrace', 'sessionTimeout', 'requestOCSP'],
]);

/** Kombu's keys, without the `ssl_` that they have in a URL: py-amqp's dictionary. */
const PYTHON_OPTIONS: ReadonlySet<string> = new Set([
  ...['ca_certs', 'cafile', 'ca_data', 'cadata', 'certfile', 'keyfile', 'password', 'cert_reqs', 'check_hostname'],
  ...['server_hostname', 'ciphers', 'ssl_version', 'tls_minimum_version', 'tls_maximum_version', 'min_version'],
]);

const IGNORED: Readonly<Record<string, string>> = {
  server_side: 'this is a client',
  do_handshake_on_connect: 'the handshake is always done on connecting',
  suppress_ragged_eofs: 'an unexpected end is always an error',
};

/**
 * TLS for the client: undefined for a plain connection. The certificate is verified, with the host's name, unless the options say
 * otherwise. Throws INVALID_ARGUMENT for an option that nobody knows, INVALID_URL for a value that means nothing.
 */
export function tlsOptions({ transport, ssl }: ConnectionParameters): boolean | TlsOptions | undefined {
  if (typeof ssl === 'boolean') return ssl || transport === 'amqps' ? true : undefined;
  const { context, ...flat } = ssl;
  const given = typeof context === 'object' && context !== null ? { ...flat, ...context } : flat;
  const node: Record<string, unknown> = {};
  const python = new URLSearchParams();
  for (const [key, value] of Object.entries(given)) {
    if (value === undefined || value === null) continue;
    const name = key.startsWith('ssl_') && key !== 'ssl_version' ? key.slice('ssl_'.length) : key;
    const ignored = IGNORED[name];
    if (NODE_OPTIONS.has(key)) node[key] = value;
    else if (name === 'ca_data' || name === 'cadata') node['ca'] = value;
    else if (PYTHON_OPTIONS.has(name)) python.set(textKey(name), String(value));
    else if (ignored !== undefined) warnOnce(`tls ${name}`, `TLS option '${key}' has no effect: ${ignored}`);
    else throw unknownOption(key);
  }
  // The client knows these names from URLs.
  const { tls } = parseUrl(`amqps://localhost/?${python}`);
  return { ...(typeof tls === 'object' ? tls : {}), ...node };
}

function textKey(name: string): string {
  if (name === 'min_version') return 'ssl_tls_minimum_version';
  return name.startsWith('ssl_') ? name : `ssl_${name}`;
}

function unknownOption(key: string): InvalidArgumentError {
  const known = [...NODE_OPTIONS, ...PYTHON_OPTIONS, ...[...PYTHON_OPTIONS].map((name) => `ssl_${name}`)];
  return new InvalidArgumentError(`TLS option '${key}' is not known${didYouMean(key, known)}`);
}
