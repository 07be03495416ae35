"""Values as plain JSON that loses nothing: packages/wakame/test/golden/canonical.ts does the same on the other side."""

import datetime
import decimal
import math
import re
import uuid


def pack(value):
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return {'number': str(value)}
    if isinstance(value, float):
        if math.isfinite(value) and value == int(value) and abs(value) < 1e21:
            return {'number': str(int(value))}
        return {'number': {'inf': 'Infinity', '-inf': '-Infinity', 'nan': 'NaN'}.get(str(value), repr(value))}
    if isinstance(value, str):
        return {'text': value}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {'bytes': bytes(value).hex()}
    if isinstance(value, datetime.datetime):
        return {'datetime': value.isoformat()}
    if isinstance(value, datetime.date):
        return {'date': value.isoformat()}
    if isinstance(value, datetime.time):
        return {'time': value.isoformat()}
    if isinstance(value, decimal.Decimal):
        return {'decimal': str(value)}
    if isinstance(value, uuid.UUID):
        return {'uuid': value.hex}
    if isinstance(value, (list, tuple)):
        return [pack(item) for item in value]
    if isinstance(value, dict):
        return {'object': sorted([str(key), pack(item)] for key, item in value.items())}
    raise TypeError(f'{type(value)} cannot be packed')


def unpack(packed):
    if packed is None or isinstance(packed, bool):
        return packed
    if isinstance(packed, list):
        return [unpack(item) for item in packed]
    ((kind, value),) = packed.items()
    return UNPACK[kind](value)


def number(text):
    # Python's own JSON reads a whole number as an int; 'f' asks for a float all the same.
    if text.endswith('f'):
        return float(text[:-1])
    return int(text) if re.fullmatch(r'-?\d+', text) else float(text)


UNPACK = {
    'number': number,
    'text': str,
    'bytes': bytes.fromhex,
    'datetime': datetime.datetime.fromisoformat,
    'date': datetime.date.fromisoformat,
    'time': datetime.time.fromisoformat,
    'decimal': decimal.Decimal,
    'uuid': lambda text: uuid.UUID(hex=text),
    'object': lambda members: {key: unpack(value) for key, value in members},
}
