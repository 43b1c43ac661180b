"""Date and time functions.

Dates are texts such as 2020-07-03T00:00:00.0000000Z; a tick is 100 nanoseconds. Inside, a date is its ticks since 1970.
Source: "Date and time functions" in the query language reference of Azure Cosmos DB for NoSQL, a page for each.
"""

from __future__ import annotations

import re
import time
from calendar import monthrange
from datetime import MAXYEAR, MINYEAR, date
from typing import TYPE_CHECKING, Any

from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.functions.signature import by_name, function

if TYPE_CHECKING:
    from collections.abc import Callable

_TICKS_PER_SECOND = 10_000_000
_TICKS_PER_MILLISECOND = 10_000
_TICKS_PER_DAY = 86_400 * _TICKS_PER_SECOND
_NANOSECONDS_PER_TICK = 100
_EPOCH = date(1970, 1, 1).toordinal()
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,7}))?)?)?Z?", re.ASCII)

_NAMES = {
    name: part
    for part, names in {
        "year": "year yyyy yy",
        "month": "month mm m",
        "day": "day dd d",
        "hour": "hour hh",
        "minute": "minute mi n",
        "second": "second ss s",
        "millisecond": "millisecond ms",
        "microsecond": "microsecond mcs",
        "nanosecond": "nanosecond ns",
    }.items()
    for name in names.split()
}
_NANOSECONDS = {
    "day": _TICKS_PER_DAY * _NANOSECONDS_PER_TICK,
    "hour": 3_600_000_000_000,
    "minute": 60_000_000_000,
    "second": 1_000_000_000,
    "millisecond": 1_000_000,
    "microsecond": 1_000,
    "nanosecond": 1,
}


def _ticks(year: int, month: int, day: int, *time_of_day: int) -> int | None:
    """Return the ticks of a date and of its hour, minute, second and fraction, or None when there is no such time."""
    hour, minute, second, fraction = (*time_of_day, 0, 0, 0, 0)[:4]
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second < 60 and 0 <= fraction < _TICKS_PER_SECOND):
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH
    except (ValueError, OverflowError):
        return None
    return days * _TICKS_PER_DAY + ((hour * 60 + minute) * 60 + second) * _TICKS_PER_SECOND + fraction


def _parse(text: str) -> int | None:
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    *fields, fraction = match.groups()
    return _ticks(*(int(field or 0) for field in fields), int((fraction or "").ljust(7, "0")))


def _fields(ticks: int) -> tuple[int, int, int, int]:
    """Return year, month, day and the ticks since midnight.

    Raises:
        ValueError: The year is beyond 1 to 9999.
        OverflowError: It is far beyond.
    """
    days, rest = divmod(ticks, _TICKS_PER_DAY)
    when = date.fromordinal(days + _EPOCH)
    return when.year, when.month, when.day, rest


def _format(ticks: int) -> Any:
    try:
        year, month, day, rest = _fields(ticks)
    except (ValueError, OverflowError):
        return UNDEFINED
    seconds, fraction = divmod(rest, _TICKS_PER_SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:07}Z"


def _add(name: str, count: float, text: str) -> Any:
    part, ticks, number = _NAMES.get(name), _parse(text), int(count)
    if part is None or ticks is None:
        return UNDEFINED
    if part in _NANOSECONDS:
        return _format(ticks + number * _NANOSECONDS[part] // _NANOSECONDS_PER_TICK)
    year, month, day, rest = _fields(ticks)
    years, month_index = divmod(month - 1 + number * (12 if part == "year" else 1), 12)
    year, month = year + years, month_index + 1
    if not MINYEAR <= year <= MAXYEAR:
        return UNDEFINED
    # the 31st of a month becomes the last day of a shorter one
    midnight = _ticks(year, month, min(day, monthrange(year, month)[1]))
    return UNDEFINED if midnight is None else _format(midnight + rest)


def _difference(name: str, start: str, end: str) -> Any:
    part, first, last = _NAMES.get(name), _parse(start), _parse(end)
    if part is None or first is None or last is None:
        return UNDEFINED
    if part in _NANOSECONDS:
        size = _NANOSECONDS[part]
        return last * _NANOSECONDS_PER_TICK // size - first * _NANOSECONDS_PER_TICK // size
    (first_year, first_month, *_), (last_year, last_month, *_) = _fields(first), _fields(last)
    years = last_year - first_year
    return years if part == "year" else years * 12 + last_month - first_month


def _part(name: str, text: str) -> Any:
    part, ticks = _NAMES.get(name), _parse(text)
    if part is None or ticks is None:
        return UNDEFINED
    year, month, day, rest = _fields(ticks)
    if part in {"year", "month", "day"}:
        return {"year": year, "month": month, "day": day}[part]
    # what lies below a second is told as a fraction of the second
    modulus = {"hour": 24, "minute": 60, "second": 60}.get(part, 1_000_000_000 // _NANOSECONDS[part])
    return rest * _NANOSECONDS_PER_TICK // _NANOSECONDS[part] % modulus


def _bin(text: str, name: str, size: float = 1, origin: str = "1970-01-01") -> Any:
    width, ticks, start = _NANOSECONDS.get(_NAMES.get(name, "")), _parse(text), _parse(origin)
    earliest = _ticks(1601, 1, 1)
    if width is None or ticks is None or start is None or earliest is None or start < earliest or size <= 0:
        return UNDEFINED
    width *= int(size)
    since = (ticks - start) * _NANOSECONDS_PER_TICK
    return _format(start + since // width * width // _NANOSECONDS_PER_TICK)


def _from_parts(year: float, month: float, day: float, *time_of_day: float) -> Any:
    ticks = _ticks(int(year), int(month), int(day), *map(int, time_of_day))
    return UNDEFINED if ticks is None else _format(ticks)


def _to_ticks(text: str) -> Any:
    ticks = _parse(text)
    return UNDEFINED if ticks is None else ticks


def _to_timestamp(text: str) -> Any:
    ticks = _parse(text)
    return UNDEFINED if ticks is None else ticks // _TICKS_PER_MILLISECOND


def now_in_ticks() -> int:
    """Return the ticks since 1970."""
    return time.time_ns() // _NANOSECONDS_PER_TICK


def _from_ticks(ticks: float) -> Any:
    return _format(int(ticks))


def _from_timestamp(milliseconds: float) -> Any:
    return _format(int(milliseconds) * _TICKS_PER_MILLISECOND)


DATE_FUNCTIONS = by_name(
    [
        function("DATETIMEADD", "sis", _add),
        function("DATETIMEBIN", "ss?is", _bin),
        function("DATETIMEDIFF", "sss", _difference),
        function("DATETIMEFROMPARTS", "iii?iiii", _from_parts),
        function("DATETIMEPART", "ss", _part),
        function("DATETIMETOTICKS", "s", _to_ticks),
        function("DATETIMETOTIMESTAMP", "s", _to_timestamp),
        function("GETCURRENTDATETIME", "", lambda: _format(now_in_ticks())),
        function("GETCURRENTTICKS", "", now_in_ticks),
        function("GETCURRENTTIMESTAMP", "", lambda: now_in_ticks() // _TICKS_PER_MILLISECOND),
        function("TICKSTODATETIME", "i", _from_ticks),
        function("TIMESTAMPTODATETIME", "i", _from_timestamp),
    ]
)

# What the functions named ...STATIC give: the time of the query, the same for each of its items.
STATIC_FUNCTIONS: dict[str, Callable[[int], Any]] = {
    "GETCURRENTDATETIMESTATIC": _from_ticks,
    "GETCURRENTTICKSSTATIC": int,
    "GETCURRENTTIMESTAMPSTATIC": lambda ticks: ticks // _TICKS_PER_MILLISECOND,
}
