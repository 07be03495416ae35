export { asUrl, maybeSanitizeUrl, sanitizeUrl, type UrlFormat, type UrlParts } from './format.js';
export { type ParsedUrl, parseUrl, parseUrls, type UrlRules } from './parse.js';
export { CONNECTION_QUERY_KEYS, IGNORED_QUERY_KEYS, type UrlSsl } from './query.js';
