import {
  AuthenticationError,
  errorForReply,
  IrrecoverableConnectionError,
  type MessagingError,
  NotAllowed,
  VhostNotFoundError,
} from './errors.js';
import type { ResolvedParameters } from './parameters.js';
import { FRAME_MIN_SIZE } from './protocol/spec.js';
import type { FieldTable, ReceivedTable } from './protocol/tables.js';
import type { DecodedMethod, MethodArguments } from './protocol/types.js';
import type { OutboundBuffer } from './protocol/writer.js';
import { replyDetails } from './replies.js';
import { chooseMechanism, type SaslCredentials, type SaslMechanism } from './sasl.js';
import { connectFailed, type Progress, socketFailed } from './socket.js';
import { VERSION } from './version.js';

/** What the peers agreed on. */
export interface Agreement {
  readonly serverProperties: ReceivedTable;
  /** Highest channel number; never 0. */
  readonly channelMax: number;
  /** 0: no limit. */
  readonly frameMax: number;
  /** Milliseconds; 0: no heartbeats. */
  readonly heartbeat: number;
}

/** Whom a {@link Handshake} tells and asks. Exactly one of `agreed` and `failed` is called, once. */
export interface HandshakeHost {
  readonly outbound: OutboundBuffer;
  /** The limits hold from here on; connection.open is yet to be answered. */
  tuned(agreement: Agreement): void;
  agreed(): void;
  failed(error: MessagingError): void;
}

const CAPABILITIES: FieldTable = {
  publisher_confirms: true,
  exchange_exchange_bindings: true,
  'basic.nack': true,
  consumer_cancel_notify: true,
  'connection.blocked': true,
  authentication_failure_close: true,
};

/** What the client tells of itself. Given fields win; given capabilities are added to ours. */
export function clientProperties(given: FieldTable, connectionName: string | undefined): FieldTable {
  const capabilities = given.capabilities;
  return {
    product: '@wakame/amqp',
    version: VERSION,
    platform: `Node.js ${process.version}`,
    ...(connectionName === undefined ? {} : { connection_name: connectionName }),
    ...given,
    capabilities:
      typeof capabilities === 'object' ? { ...CAPABILITIES, ...(capabilities as FieldTable) } : CAPABILITIES,
  };
}

/** 0 means "no limit" on either side (0-9-1 section 1.4.2.5). */
function lower(ours: number, theirs: number): number {
  if (ours === 0) return theirs;
  return theirs === 0 ? ours : Math.min(ours, theirs);
}

/** A heartbeat of 0 on our side switches it off; on the server's it only means that the server wants none itself. */
function agreeHeartbeat(ours: number, theirs: number): number {
  return ours === 0 ? 0 : lower(ours, theirs);
}

/**
 * The client's side of opening a connection (0-9-1 section 2.2.4), from the protocol header to connection.open-ok.
 *
 * ```
 *   state      receives              sends
 *   ─────      ────────              ─────
 *   start                            protocol header
 *              connection.start  ──▶ start-ok (SASL response)
 *   login      secure            ──▶ secure-ok                  as often as the server asks
 *              tune              ──▶ tune-ok, open
 *   open       open-ok
 *   done
 * ```
 */
export class Handshake {
  state: 'start' | 'login' | 'open' | 'done' = 'start';
  readonly #parameters: ResolvedParameters;
  readonly #progress: Progress;
  readonly #host: HandshakeHost;
  #login: { readonly mechanism: SaslMechanism; readonly credentials: SaslCredentials } | undefined;
  #serverProperties: ReceivedTable = {};
  /** The server has our proof of identity and has not answered it. */
  #judging = false;

  constructor(parameters: ResolvedParameters, progress: Progress, host: HandshakeHost) {
    this.#parameters = parameters;
    this.#progress = progress;
    this.#host = host;
  }

  begin(): void {
    this.#progress.phase = 'sasl';
    this.#host.outbound.protocolHeader();
  }

  onMethod(method: DecodedMethod): void {
    switch (method.name) {
      case 'connection.start':
        if (this.state === 'start') {
          this.#onStart(method.arguments);
          return;
        }
        break;
      case 'connection.secure':
        if (this.state === 'login') {
          this.#onSecure(method.arguments.challenge);
          return;
        }
        break;
      case 'connection.tune':
        if (this.state === 'login') {
          this.#onTune(method.arguments);
          return;
        }
        break;
      case 'connection.open-ok':
        if (this.state !== 'open') break;
        this.state = 'done';
        this.#host.agreed();
        return;
      case 'connection.close':
        this.#host.outbound.method(0, 'connection.close-ok', {});
        this.#fail(this.#closedByServer(method.arguments));
        return;
    }
    this.#fail(this.#refused(`the server sent ${method.name} out of turn`));
  }

  /** The peer broke the protocol in a way that the parser noticed. */
  onMalformed(error: unknown): void {
    const problem = error instanceof Error ? error.message : String(error);
    this.#fail(this.#refused(problem, error));
  }

  onLost(cause: Error | undefined): void {
    if (cause !== undefined) {
      this.#fail(socketFailed(this.#progress, cause));
      return;
    }
    if (this.#judging) {
      // Brokers that do not know authentication_failure_close just hang up (0-9-1 section 4.2.2).
      this.#fail(this.#unauthenticated('it closed the connection instead of accepting the credentials'));
      return;
    }
    this.#fail(connectFailed(this.#progress, 'the server closed the connection'));
  }

  #onStart(start: MethodArguments<'connection.start'>): void {
    if (start.versionMajor !== 0 || start.versionMinor !== 9) {
      this.#fail(this.#refused(`the server speaks AMQP ${start.versionMajor}-${start.versionMinor}, not 0-9-1`));
      return;
    }
    this.state = 'login';
    this.#serverProperties = start.serverProperties;
    const { mechanisms, username, password } = this.#parameters;
    const mechanism = chooseMechanism(mechanisms, start.mechanisms);
    if (mechanism === undefined) {
      const wanted = mechanisms.map(({ name }) => name).join(', ');
      const offered = start.mechanisms || 'none';
      this.#fail(this.#unauthenticated(`it offers the SASL mechanisms ${offered}; wanted are ${wanted}`));
      return;
    }
    const prove = async () => {
      const credentials = { username, password: typeof password === 'string' ? password : await password() };
      this.#login = { mechanism, credentials };
      return mechanism.start(credentials);
    };
    this.#respond(prove, (response) => this.#sendStartOk(mechanism.name, response));
  }

  #onSecure(challenge: Buffer): void {
    this.#judging = false;
    const { mechanism, credentials } = this.#login ?? {};
    if (mechanism?.challenge === undefined || credentials === undefined) {
      this.#fail(this.#unauthenticated(`it sent a challenge, which ${mechanism?.name} does not expect`));
      return;
    }
    const prove = async () => mechanism.challenge?.(challenge, credentials) ?? '';
    this.#respond(prove, (response) => this.#host.outbound.method(0, 'connection.secure-ok', { response }));
  }

  /** Finds the proof of our identity and sends it. By then the connection may be over. */
  #respond(prove: () => Promise<Uint8Array | string>, send: (response: Uint8Array | string) => void): void {
    const answer = async () => {
      const response = await prove();
      if (this.state !== 'login') return;
      send(response);
      this.#judging = true;
    };
    answer().catch((error: unknown) => {
      this.#fail(connectFailed(this.#progress, error instanceof Error ? error.message : String(error), error));
    });
  }

  #sendStartOk(mechanism: string, response: Uint8Array | string): void {
    this.#host.outbound.method(0, 'connection.start-ok', {
      clientProperties: clientProperties(this.#parameters.clientProperties, this.#parameters.connectionName),
      mechanism,
      response,
      locale: this.#parameters.locale,
    });
  }

  #unauthenticated(problem: string): MessagingError {
    const { host } = this.#progress;
    return new AuthenticationError(`cannot log in to ${host}: ${problem}`, { phase: 'sasl', host });
  }

  #onTune(tune: MethodArguments<'connection.tune'>): void {
    this.#judging = false;
    this.#progress.phase = 'tune';
    if (tune.frameMax !== 0 && tune.frameMax < FRAME_MIN_SIZE) {
      this.#fail(this.#refused(`the server proposes a frame_max of ${tune.frameMax}, less than ${FRAME_MIN_SIZE}`));
      return;
    }
    const { outbound } = this.#host;
    const parameters = this.#parameters;
    const channelMax = lower(parameters.channelMax, tune.channelMax);
    const frameMax = lower(parameters.frameMax, tune.frameMax);
    const heartbeat = agreeHeartbeat(parameters.heartbeat / 1000, tune.heartbeat);
    outbound.method(0, 'connection.tune-ok', { channelMax, frameMax, heartbeat });
    outbound.method(0, 'connection.open', { virtualHost: parameters.vhost });
    this.#progress.phase = 'open';
    this.state = 'open';
    this.#host.tuned({
      serverProperties: this.#serverProperties,
      channelMax: channelMax === 0 ? 65_535 : channelMax,
      frameMax,
      heartbeat: heartbeat * 1000,
    });
  }

  #closedByServer(close: MethodArguments<'connection.close'>): MessagingError {
    const { phase, host } = this.#progress;
    const details = { ...replyDetails(close), phase, host };
    const problem = `${host} refused the connection: ${close.replyCode} ${close.replyText}`;
    if (phase === 'sasl' && close.replyCode === 403) return new AuthenticationError(problem, details);
    if (phase === 'open' && [402, 403, 404, 530].includes(close.replyCode)) {
      // RabbitMQ uses 530 also for too many connections, which is no statement about the vhost.
      if (!/limit/i.test(close.replyText)) return new VhostNotFoundError(problem, details);
      return new NotAllowed(problem, { ...details, code: 'CONNECT_FAILED', recoverable: true });
    }
    return errorForReply('connection', close.replyCode, close.replyText, { ...details, code: 'CONNECT_FAILED' });
  }

  #refused(problem: string, cause?: unknown): MessagingError {
    const { phase, host } = this.#progress;
    return new IrrecoverableConnectionError(`cannot connect to ${host} (${phase}): ${problem}`, {
      code: 'PROTOCOL_ERROR',
      phase,
      host,
      ...(cause === undefined ? {} : { cause }),
    });
  }

  #fail(error: MessagingError): void {
    if (this.state === 'done') return;
    this.state = 'done';
    this.#host.failed(error);
  }
}
