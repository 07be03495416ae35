/** What the service can do, for those who serve it and those who call it. */
export interface ComputeApi {
  /** Starts a server anew; gives its state. */
  reboot(args: { readonly id: number; readonly hard?: boolean | undefined }): string;
  /** The servers that there are. */
  list(): readonly number[];
}

export const topic = 'example-compute';
export const version = '1.1';

/** Where the bus is: the first argument, or a RabbitMQ of this machine. */
export const url = process.argv[2] ?? 'rabbit://guest:guest@localhost:5672//';
