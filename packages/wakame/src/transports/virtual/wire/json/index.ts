/** Kombu's dialect of JSON (`kombu.utils.json`): typed values, NaN, Infinity, integers of any size. */
export { PyDate, PyDateTime, PyTime } from './datetime.js';
export { Decimal } from './decimal.js';
export { type JsonLimits, parseJson } from './parse.js';
export { type JsonType, registerJsonType } from './typed.js';
export { Uuid } from './uuid.js';
export { type JsonWriteOptions, writeJson } from './write.js';
