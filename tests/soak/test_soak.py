"""The soak in short: nothing is left of some checkouts and requests of every kind, and what is planted is found and named."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from tests.soak.load import GONE, KINDS, Load
from tests.soak.measuring import TOLERANCE, Measurement, complaints, slope
from tests.soak.running import checkouts, requests


async def test_nothing_is_left_of_checkouts_and_a_leak_is_found() -> None:
    """Once warm, a process that checks out holds what it held; when it keeps a list for each, that is told."""
    async with checkouts([5_000, 10_000, 18_000], leak_from=13_000) as measured:
        warm, sound, leaking = [one async for one in measured]
    assert complaints(warm, sound) == []
    found = complaints(sound, leaking)
    assert found[0].startswith("live objects grew from ")
    assert found[1].endswith(" builtins.list")


async def test_nothing_is_left_of_requests_and_a_leak_is_found() -> None:
    """Once warm, a server that answers requests of every kind holds what it held; when a route keeps lists, that is told."""
    load = Load(random.Random(1))
    async with requests([150, 250, 350], load, leak_from=250) as measured:
        warm, sound, leaking = [one async for one in measured]
    assert load.complaints == []
    assert sum(load.answers.values()) == 350
    assert complaints(warm, sound) == []
    found = complaints(sound, leaking)
    assert found[0].startswith("live objects grew from ")
    assert found[1].endswith(" builtins.list")


# What it is told by -------------------------------------------------------------------------------------------------------------

BEFORE = Measurement(1000, 10_000, 1_000_000, 0, {"dict": 4000, "list": 6000}, {"a.py:1": 600_000, "b.py:2": 400_000})


def test_within_the_tolerance_is_no_growth() -> None:
    """One percent more, or whatever less, is no complaint."""
    assert TOLERANCE == 0.01
    assert complaints(BEFORE, replace(BEFORE, objects=10_100, traced=1_010_000)) == []
    assert complaints(BEFORE, replace(BEFORE, objects=1, traced=1)) == []


def test_growth_is_told_with_what_has_grown() -> None:
    """Above it, objects are told by type and memory by line, the greatest growth first, and what has shrunk is left out."""
    objects = replace(BEFORE, objects=10_101, types={"dict": 4050, "list": 5900, "set": 151})
    assert complaints(BEFORE, objects) == [
        "live objects grew from 10,000 to 10,101:",
        "  +151 set",
        "  +50 dict",
    ]
    memory = replace(BEFORE, traced=1_010_001, lines={"a.py:1": 610_001, "b.py:2": 400_000})
    assert complaints(BEFORE, memory) == [
        "traced memory grew from 1,000,000 to 1,010,001 bytes:",
        "  +10,001 bytes at a.py:1",
    ]


def test_the_slope_is_that_of_the_best_line() -> None:
    """It is told per thousand operations, and the first measurement does not count."""
    resident = [0, 5000, 5300, 5500, 5800]
    measured = [replace(BEFORE, operations=1000 * (n + 1), resident=value) for n, value in enumerate(resident)]
    assert slope(measured) == pytest.approx(260)


def test_a_measurement_survives_its_way_between_processes() -> None:
    """What is written is read again."""
    assert Measurement.read(BEFORE.write()) == BEFORE


def test_an_answer_that_was_not_to_be_expected_is_told() -> None:
    """A kind of request has its statuses; another one, or none, is told with how often it came."""
    load = Load(random.Random())
    load.answers.update({("a place", 200): 9, ("a place", 503): 2, ("hang up at once", GONE): 5, ("publish", GONE): 1})
    assert load.complaints == [
        "a place: 2 times the answer was 503",
        "publish: 1 times the answer was none",
    ]


def test_the_kinds_of_requests_make_a_hundred() -> None:
    """Each kind's share is a percentage."""
    assert sum(share for share, _, _ in KINDS.values()) == 100
