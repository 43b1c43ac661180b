"""Which partition a partition key belongs to."""

from __future__ import annotations

import math
import struct
from functools import lru_cache

_MASK = 0xFFFFFFFF
_SHORT = struct.Struct(">h")


@lru_cache(maxsize=4096)
def partition_of(key: str, count: int) -> int:
    """Return the number of the partition that the service puts a key into.

    Source:
        Bob Jenkins, "lookup3.c" (hashlittle2), folded to 16 bits, as the buffered producers of Azure's SDKs do it; the
        remainder has the sign of the dividend, as it has in the service's language, and then loses it.
    """
    return abs(int(math.fmod(hash_code(key), count)))


def hash_code(key: str) -> int:
    """Return a key's hash, a signed number of 16 bits; 0 for an empty key."""
    if not key:
        return 0
    first, second = _hash_little(key.encode())
    return int(_SHORT.unpack(((first ^ second) & 0xFFFF).to_bytes(2, "big"))[0])


def _hash_little(data: bytes) -> tuple[int, int]:
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    position = 0
    while len(data) - position > 12:
        words = struct.unpack_from("<III", data, position)
        a, b, c = _mix((a + words[0]) & _MASK, (b + words[1]) & _MASK, (c + words[2]) & _MASK)
        position += 12
    words = struct.unpack("<III", data[position:].ljust(12, b"\0"))
    return _final((a + words[0]) & _MASK, (b + words[1]) & _MASK, (c + words[2]) & _MASK)


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (32 - bits))) & _MASK


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in ((4, 6, 8), (16, 19, 4)):
        a = ((a - c) & _MASK) ^ _rotate(c, bits[0])
        c = (c + b) & _MASK
        b = ((b - a) & _MASK) ^ _rotate(a, bits[1])
        a = (a + c) & _MASK
        c = ((c - b) & _MASK) ^ _rotate(b, bits[2])
        b = (b + a) & _MASK
    return a, b, c


def _final(a: int, b: int, c: int) -> tuple[int, int]:
    c = ((c ^ b) - _rotate(b, 14)) & _MASK
    a = ((a ^ c) - _rotate(c, 11)) & _MASK
    b = ((b ^ a) - _rotate(a, 25)) & _MASK
    c = ((c ^ b) - _rotate(b, 16)) & _MASK
    a = ((a ^ c) - _rotate(c, 4)) & _MASK
    b = ((b ^ a) - _rotate(a, 14)) & _MASK
    c = ((c ^ b) - _rotate(b, 24)) & _MASK
    return c, b
