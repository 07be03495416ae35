/** The broker for an example: the first argument, or WAKAME_URL, or none at all: the one inside this process. */
export const url: string = process.argv[2] ?? process.env['WAKAME_URL'] ?? 'memory://examples';
