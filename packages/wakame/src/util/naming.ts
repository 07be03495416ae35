/** `connectTimeout` → `connect_timeout`: the name that an option has in Kombu, in URLs and in `transportOptions`. */
export function camelToSnake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** `connect_timeout` → `connectTimeout`. Names without an underscore stay as they are. */
export function snakeToCamel(name: string): string {
  return name.replace(/(?<=[^_])_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
