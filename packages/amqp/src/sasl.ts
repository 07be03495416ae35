import { InvalidArgumentError } from './errors.js';
import { didYouMean } from './nearest.js';
import { encodeTable } from './protocol/tables.js';

/** What a mechanism proves who we are with. */
export interface SaslCredentials {
  readonly username: string;
  readonly password: string;
}

type SaslResponse = Uint8Array | string | Promise<Uint8Array | string>;

/**
 * A SASL mechanism (RFC 4422). One object may serve several connections at once: what belongs to one login it finds in
 * the arguments.
 *
 * ```
 * server ── connection.start(mechanisms) ──▶ start()      ── connection.start-ok(response) ──▶
 *        ── connection.secure(challenge) ──▶ challenge()  ── connection.secure-ok(response) ──▶   as often as asked
 * ```
 */
export interface SaslMechanism {
  /** As the server calls it: `PLAIN`. Compared without regard to case. */
  readonly name: string;
  /** The initial response. A string is sent as UTF-8. */
  start(credentials: SaslCredentials): SaslResponse;
  /** The answer to a challenge. Without this method a challenge ends the login with `AUTH_FAILED`. */
  challenge?(challenge: Buffer, credentials: SaslCredentials): SaslResponse;
}

/** RFC 4616: no authorization identity, user name and password, separated by NUL. */
const PLAIN: SaslMechanism = {
  name: 'PLAIN',
  start: ({ username, password }) => `\0${username}\0${password}`,
};

/** RabbitMQ's AMQPLAIN, known from 0-8: a field table without its length. */
const AMQPLAIN: SaslMechanism = {
  name: 'AMQPLAIN',
  start: ({ username, password }) => encodeTable({ LOGIN: username, PASSWORD: password }).subarray(4),
};

/** RFC 4422 appendix A: the identity is what the TLS certificate says. */
const EXTERNAL: SaslMechanism = { name: 'EXTERNAL', start: () => '' };

const BUILT_IN: ReadonlyMap<string, SaslMechanism> = new Map([PLAIN, AMQPLAIN, EXTERNAL].map((m) => [m.name, m]));

/** Turns names into mechanisms. Throws `INVALID_ARGUMENT` for a name that nobody knows. */
export function resolveMechanisms(
  wanted: string | SaslMechanism | readonly (string | SaslMechanism)[],
): readonly SaslMechanism[] {
  const list = Array.isArray(wanted)
    ? (wanted as readonly (string | SaslMechanism)[])
    : [wanted as string | SaslMechanism];
  if (list.length === 0) throw new InvalidArgumentError('mechanism must name at least one SASL mechanism');
  return list.map((mechanism) => {
    if (typeof mechanism === 'object' && mechanism !== null && typeof mechanism.start === 'function') return mechanism;
    const known = BUILT_IN.get(String(mechanism).toUpperCase());
    if (known !== undefined) return known;
    throw new InvalidArgumentError(
      `unknown SASL mechanism '${String(mechanism)}'${didYouMean(String(mechanism), BUILT_IN.keys())}; ` +
        `known are ${[...BUILT_IN.keys()].join(', ')}, others are given as objects`,
    );
  });
}

/** The most wanted mechanism that the server offers. `offered`: names separated by spaces, as in connection.start. */
export function chooseMechanism(wanted: readonly SaslMechanism[], offered: string): SaslMechanism | undefined {
  const names = new Set(offered.toUpperCase().split(' '));
  return wanted.find((mechanism) => names.has(mechanism.name.toUpperCase()));
}
