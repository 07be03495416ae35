/** What a broker is to the tests: a server that each checkout can have for itself. */

/** A kind of broker. */
export interface Broker {
  /** As in `scripts/brokers up <name>`; in upper case, as in WAKAME_TEST_<NAME>_URL. */
  readonly name: string;
  /** How its authors write it. */
  readonly title: string;
  /** The Debian package that has the server. */
  readonly debianPackage: string;
  isInstalled(): boolean;
  /** Gets the server in another way than by installing the package. Throws where that cannot be done. */
  readonly install?: (() => void) | undefined;
  /** The private server whose files lie in `folder`, whether it runs or not. */
  open(folder: string): Promise<Server>;
}

/** A private server: it listens on the loopback interface only, and everything of it lies in its folder. */
export interface Server {
  /** What the tests find in their environment. Valid once the server runs. */
  readonly variables: Readonly<Record<string, string>>;
  isRunning(): Promise<boolean>;
  /** Resolves when clients can connect. With `fresh`, the server forgets what it held; one that runs already is left alone. */
  start(options?: { fresh?: boolean | undefined }): Promise<void>;
  /** Orderly. Leaves no process behind, also after a crash half-way through a start. */
  stop(): Promise<void>;
}
