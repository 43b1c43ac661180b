"""Where an item lives: partition keys, the hash that spreads them, and the ranges of that hash.

Sources: "Partitioning and horizontal scaling in Azure Cosmos DB", "Hierarchical partition keys in Azure Cosmos DB";
MurmurHash3_x64_128 by Austin Appleby, public domain (https://github.com/aappleby/smhasher).
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from fastapi_azure_pool.emulator.cosmos.errors import PARTITION_KEY_MISMATCH, bad_request

_MASK = 0xFFFFFFFFFFFFFFFF
# The two highest bits of a hash are zero, so that "FF" is above every one.
_HASH_BITS = 126
_HASH_HEX_DIGITS = 32


class Undefined(Enum):
    """The type of UNDEFINED, the value of a property that is not there: not null, and not JSON."""

    UNDEFINED = "undefined"


UNDEFINED: Final = Undefined.UNDEFINED

Component = str | float | bool | Undefined | None

# A partition key as a dictionary can tell it: 1 and True are one key to Python, so a number stands in a tuple of its own.
PartitionKey = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class PartitionKeyDefinition:
    """The paths of a container's partition key: one, or up to three for a hierarchical key."""

    paths: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]
    is_hierarchical: bool

    @classmethod
    def parse(cls, definition: object) -> PartitionKeyDefinition:
        """Return the definition that a container's ``partitionKey`` spells.

        Raises:
            CosmosError: 400, it is malformed.
        """
        if not isinstance(definition, dict):
            raise bad_request("The partition key definition must be an object with paths and kind.")
        paths, kind = definition.get("paths"), definition.get("kind", "Hash")
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
            raise bad_request("The partition key definition needs at least one path.")
        is_hierarchical = kind == "MultiHash"
        if kind not in ("Hash", "MultiHash"):  # a set would ask for its hash, which a list has not
            raise bad_request(f"The partition key kind {kind!r} is invalid: Hash or MultiHash.")
        if len(paths) > (3 if is_hierarchical else 1):
            raise bad_request(f"Too many partition key paths for kind {kind}: {len(paths)}.")
        steps = []
        for path in paths:
            names = tuple(name.strip('"') for name in path.split("/")[1:])
            if not path.startswith("/") or not all(names):
                raise bad_request(f"The partition key component definition path '{path}' could not be accepted.")
            steps.append(names)
        return cls(tuple(paths), tuple(steps), is_hierarchical)

    def extract(self, item: dict[str, Any]) -> PartitionKey:
        """Return the partition key that an item has.

        Raises:
            CosmosError: 400, a value is an object or an array.
        """
        key = tuple(_canonical(_walk(item, names)) for names in self.steps)
        if self.is_hierarchical:
            # the SDK sends null for a component that an item lacks, and no way is known to tell the two apart
            return tuple(None if component is UNDEFINED else component for component in key)
        return key

    def parse_header(self, header: str) -> PartitionKey:
        """Return the partition key, or its first components, that ``x-ms-documentdb-partitionkey`` spells.

        Raises:
            CosmosError: 400, it is malformed, too long, or has an object or an array in it.
        """
        try:
            components = json.loads(header)
        except (ValueError, RecursionError) as error:
            raise bad_request(f"Partition key {header} is invalid.") from error
        if not isinstance(components, list) or len(components) > len(self.paths):
            raise bad_request(f"Partition key {header} is invalid.", substatus=PARTITION_KEY_MISMATCH)
        return tuple(_canonical(UNDEFINED if component == {} else component) for component in components)


@lru_cache(maxsize=10_000)
def effective_partition_key(key: PartitionKey, *, is_hierarchical: bool = False) -> str:
    """Return the place of a partition key in the hash space: upper-case hexadecimal, which sorts as the hash does.

    A hierarchical key's components are hashed one by one, so that those that share the first ones lie together.
    """
    if is_hierarchical:
        return "".join(_hash(_encode(component)) for component in key)
    return _hash(b"".join(_encode(component) for component in key))


@dataclass(frozen=True, slots=True)
class HashRange:
    """A half-open range of the hash space, such as one physical partition's."""

    minimum: str
    maximum: str

    def holds(self, place: str) -> bool:
        """Say whether a place is in it."""
        return self.minimum <= place < self.maximum


WHOLE_RANGE = HashRange("", "FF")


def split_evenly(count: int) -> list[HashRange]:
    """Return the hash ranges of so many physical partitions, from "" to "FF"."""
    bounds = [format((number << _HASH_BITS) // count, f"0{_HASH_HEX_DIGITS}X") for number in range(1, count)]
    edges = ["", *bounds, "FF"]
    return [HashRange(low, high) for low, high in pairwise(edges)]


def _walk(item: dict[str, Any], names: tuple[str, ...]) -> object:
    value: Any = item
    for name in names:
        if not isinstance(value, dict) or name not in value:
            return UNDEFINED
        value = value[name]
    return value


def _canonical(value: object) -> object:
    if isinstance(value, str) or value is None or value is UNDEFINED:
        return value
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, (int, float)):
        try:
            number = float(value) + 0.0  # which makes -0.0 the 0.0 that it equals
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise bad_request("A partition key's number is out of range.")
        return ("number", number)
    raise bad_request("A partition key's value must be a string, a number, a boolean or null.")


def _encode(component: object) -> bytes:
    """Return the bytes that are hashed for one component: a type marker, and the value as the service lays it out."""
    match component:
        case str():
            return b"\x08" + component.encode("utf-8", "surrogatepass") + b"\xff"
        case ("number", value):
            return b"\x05" + struct.pack("<d", value)
        case ("boolean", value):
            return b"\x03" if value else b"\x02"
        case None:
            return b"\x01"
        case _:  # undefined
            return b"\x00"


def _hash(data: bytes) -> str:
    low, high = murmur3_128(data)
    digest = bytearray(low.to_bytes(8, "little") + high.to_bytes(8, "little"))
    digest.reverse()
    digest[0] &= 0x3F
    return digest.hex().upper()


def murmur3_128(data: bytes) -> tuple[int, int]:
    """Return the two halves of MurmurHash3_x64_128 with seed 0."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = 0
    whole = len(data) & ~15
    for offset in range(0, whole, 16):
        k1, k2 = struct.unpack_from("<QQ", data, offset)
        h1 ^= _scramble(k1, c1, 31, c2)
        h1 = ((_rotate(h1, 27) + h2) * 5 + 0x52DCE729) & _MASK
        h2 ^= _scramble(k2, c2, 33, c1)
        h2 = ((_rotate(h2, 31) + h1) * 5 + 0x38495AB5) & _MASK
    tail = data[whole:].ljust(16, b"\0")
    k1, k2 = struct.unpack("<QQ", tail)
    h2 ^= _scramble(k2, c2, 33, c1)
    h1 ^= _scramble(k1, c1, 31, c2)
    h1 ^= len(data)
    h2 ^= len(data)
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    h1, h2 = _finish(h1), _finish(h2)
    h1 = (h1 + h2) & _MASK
    h2 = (h2 + h1) & _MASK
    return h1, h2


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK


def _scramble(block: int, first: int, bits: int, second: int) -> int:
    return _rotate(block * first & _MASK, bits) * second & _MASK


def _finish(value: int) -> int:
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return value ^ value >> 33
