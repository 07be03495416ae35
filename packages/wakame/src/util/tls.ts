/** TLS options as Kombu and Python's clients name them, beside Node's own. */
import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { InvalidArgumentError, TlsError } from '../errors.js';
import { show } from './check.js';
import { didYouMean } from './nearest.js';
import { warnOnce } from './warnings.js';

const NODE_OPTIONS: ReadonlySet<string> = new Set([
  ...['ca', 'cert', 'key', 'passphrase', 'pfx', 'crl', 'servername', 'session', 'rejectUnauthorized', 'minVersion'],
  ...['checkServerIdentity', 'allowPartialTrustChain', 'maxVersion', 'ciphers', 'secureContext', 'ecdhCurve'],
  ...['sigalgs', 'dhparam', 'minDHSize', 'ALPNProtocols', 'honorCipherOrder', 'pskCallback', 'secureOptions'],
]);

/** Without the `ssl_` that they have in a URL. */
const PYTHON_OPTIONS = [
  ...['ca_certs', 'ca_data', 'certfile', 'keyfile', 'password', 'cert_reqs', 'check_hostname', 'server_hostname'],
  ...['ciphers', 'min_version', 'tls_minimum_version', 'tls_maximum_version'],
];

const IGNORED: Readonly<Record<string, string>> = {
  version: 'the newest version that both sides know is used',
  ca_path: 'Node reads no folders of certificates; ssl_ca_certs names a file',
};

/**
 * For Node's `tls.connect`. The certificate is verified, with the host's name, unless the options say otherwise.
 *
 * @throws InvalidArgumentError INVALID_ARGUMENT for an option that nobody knows; TlsError TLS_FAILED for a file that cannot be read.
 */
export function tlsOptions(ssl: true | Readonly<Record<string, unknown>>, host: string): ConnectionOptions {
  const options: Record<string, unknown> = { servername: /^[\d.]+$|:/.test(host) ? '' : host };
  if (ssl === true) return options;
  for (const [key, value] of Object.entries(ssl)) {
    if (value === undefined || value === null) continue;
    if (NODE_OPTIONS.has(key)) options[key] = value;
    else Object.assign(options, translated(key, value));
  }
  return options;
}

function translated(key: string, value: unknown): ConnectionOptions {
  const name = key.startsWith('ssl_') ? key.slice('ssl_'.length) : key;
  switch (name) {
    case 'ca_certs':
      return { ca: file(key, value) };
    case 'ca_data':
      return { ca: String(value) };
    case 'certfile':
      return { cert: file(key, value) };
    case 'keyfile':
      return { key: file(key, value) };
    case 'password':
      return { passphrase: String(value) };
    case 'cert_reqs':
      return requirement(key, value);
    case 'check_hostname':
      return value === false || value === 'false' ? { checkServerIdentity: () => undefined } : {};
    case 'server_hostname':
      return { servername: String(value) };
    case 'ciphers':
      return { ciphers: String(value) };
    case 'min_version':
    case 'tls_minimum_version':
      return { minVersion: version(key, value) };
    case 'tls_maximum_version':
      return { maxVersion: version(key, value) };
  }
  const ignored = IGNORED[name];
  if (ignored === undefined) {
    const known = [...NODE_OPTIONS, ...PYTHON_OPTIONS.map((option) => `ssl_${option}`)];
    throw new InvalidArgumentError(`TLS option '${key}' is not known${didYouMean(key, known)}`);
  }
  warnOnce(`tls ${name}`, `TLS option '${key}' has no effect: ${ignored}`);
  return {};
}

function file(key: string, value: unknown): Buffer {
  try {
    return readFileSync(String(value));
  } catch (cause) {
    throw new TlsError(`${key}: ${String(value)} cannot be read`, { cause });
  }
}

/** Python's numbers are those of its module ssl: 0 none, 1 optional, 2 required. */
function requirement(key: string, value: unknown): ConnectionOptions {
  const text = String(value)
    .toLowerCase()
    .replace(/^cert_/, '');
  if (text === 'none' || text === '0') return { rejectUnauthorized: false };
  if (text === 'required' || text === '2' || text === 'optional' || text === '1') return {};
  throw new InvalidArgumentError(`${key} must be required, optional or none, not ${show(value)}`);
}

function version(key: string, value: unknown): 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3' {
  const [, minor] = /^TLSv?1(?:[._]([0-3]))?$/i.exec(String(value)) ?? [undefined, undefined];
  if (!/^TLSv?1/i.test(String(value)))
    throw new InvalidArgumentError(`${key} must be TLSv1_2 or so, not ${show(value)}`);
  return minor === undefined || minor === '0' ? 'TLSv1' : (`TLSv1.${minor}` as 'TLSv1.2');
}
