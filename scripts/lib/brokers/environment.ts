/** How a test finds a broker. */

/** The URL of a broker for tests; throws, saying what to do, when there is none. */
export function brokerUrl(name: string): string {
  return required(`WAKAME_TEST_${name.toUpperCase()}_URL`);
}

/** The root of the HTTP API of RabbitMQ's management plug-in, with credentials. */
export function rabbitmqManagementUrl(): string {
  return required('WAKAME_TEST_RABBITMQ_MANAGEMENT_URL');
}

/** The same Redis with TLS (the certificate to trust is in the URL), and the path of its Unix socket. */
export function redisEndpoints(): { readonly tlsUrl: string; readonly socket: string } {
  return { tlsUrl: required('WAKAME_TEST_REDIS_TLS_URL'), socket: required('WAKAME_TEST_REDIS_SOCKET') };
}

function required(variable: string): string {
  const value = process.env[variable];
  if (!value)
    throw new Error(`${variable} is not set: start the brokers (scripts/brokers up), or run the tests with npm test`);
  return value;
}
