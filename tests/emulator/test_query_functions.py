"""The query language's functions: the examples of Microsoft's reference with their results, and what is undefined.

The reference has a page for each function ("Query language reference in Azure Cosmos DB for NoSQL"); its examples are
the rows of the tables here.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.compiler import NOW, compile_query
from fastapi_azure_pool.emulator.cosmos.query.functions.library import FUNCTIONS
from fastapi_azure_pool.emulator.cosmos.query.values import distinct_key

# a busy machine is no failure
no_deadline = settings(deadline=None)

WORKS = '"AdventureWorks"'
BIKES = '["apples", "strawberries", "bananas"]'
START, END = '"2019-02-04T16:00:00.0000000"', '"2018-03-05T05:00:00.0000000"'
PARTED = '"2016-05-29T08:30:00.1301617"'
BINNED = '"2021-01-08T18:35:00.0000000"'
ADDED = '"2020-07-03T00:00:00.0000000"'


def value_of(expression: str, parameters: dict[str, Any] | None = None) -> Any:
    """Return an expression's value."""
    return compile_query(f"SELECT VALUE {expression}").block.project((UNDEFINED,), parameters or {})


def check(expression: str, expected: object) -> None:
    """Assert an expression's value and its type; true is not 1, and 4 is not 4.0."""
    result = value_of(expression)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('CONCAT("adventure", "works")', "adventureworks"),
        ('CONCAT("a", "b", "c")', "abc"),
        ('CONTAINS("abc", "ab")', True),
        ('CONTAINS("abc", "A")', False),
        ('CONTAINS("abc", "A", true)', True),
        ('CONTAINS("abc", "A", false)', False),
        ('ENDSWITH("abc", "bC", false)', False),
        ('ENDSWITH("abc", "bC", true)', True),
        (f'INDEX_OF({WORKS}, "A")', 0),
        (f'INDEX_OF({WORKS}, "s")', 13),
        (f'INDEX_OF({WORKS}, "Works")', 9),
        (f'INDEX_OF({WORKS}, "tureW")', 5),
        (f'INDEX_OF({WORKS}, "Cosmos")', -1),
        (f'INDEX_OF({WORKS}, "Works", 5)', 9),
        (f'INDEX_OF({WORKS}, "Adventure", 5)', -1),
        (f'INDEX_OF({WORKS}, "aD")', -1),
        (f"LEFT({WORKS}, 0)", ""),
        (f"LEFT({WORKS}, 5)", "Adven"),
        (f"LEFT({WORKS}, 100)", "AdventureWorks"),
        (f"LENGTH({WORKS})", 14),
        ('LOWER("ABC")', "abc"),
        ('LTRIM("   abc   ")', "abc   "),
        ('LTRIM("abc", "ab")', "c"),
        ('LTRIM("abc", "abc")', ""),
        ('RegexMatch("abcd", "ABC", "")', False),
        ('RegexMatch("abcd", "ABC", "i")', True),
        ('RegexMatch("abcd", "ab.", "")', True),
        ('RegexMatch("abcd", "ab c", "x")', True),
        ('RegexMatch("abcd", "aB c", "ix")', True),
        ('RegexMatch("a\\nb", "a.b")', False),
        ('RegexMatch("a\\nb", "a.b", "s")', True),
        ('RegexMatch("a\\nb", "^b$", "m")', True),
        ('RegexMatch("abcd", "(")', UNDEFINED),
        ('RegexMatch("abcd", "a", "q")', UNDEFINED),
        ('REPLACE("This is a Test", "Test", "desk")', "This is a desk"),
        ('REPLACE("abc", "", "x")', "abc"),
        ('REPLICATE("a", 3)', "aaa"),
        ('REPLICATE("a", -1)', UNDEFINED),
        ('REPLICATE("a", 10001)', UNDEFINED),
        ('REPLICATE("a", Infinity)', UNDEFINED),
        ('REVERSE("Abc")', "cbA"),
        ('RIGHT("abc", 1)', "c"),
        ('RIGHT("abc", 0)', ""),
        ('RIGHT("abc", 9)', "abc"),
        ('RTRIM("   abc   ")', "   abc"),
        ('RTRIM("abc", "bc")', "a"),
        ('TRIM("   abc   ")', "abc"),
        ('STARTSWITH("abc", "b")', False),
        ('STARTSWITH("abc", "A", true)', True),
        ('StringEquals("abc", "abc")', True),
        ('StringEquals("abc", "ABC")', False),
        ('StringEquals("abc", "ABC", true)', True),
        ('STRINGJOIN(["Iropa", "Mountain", "Bike"], " ")', "Iropa Mountain Bike"),
        ('STRINGJOIN(["Iropa", "Mountain", "Bike"], "")', "IropaMountainBike"),
        ('STRINGJOIN(["Iropa", "Mountain", "Bike"], undefined)', UNDEFINED),
        ('STRINGJOIN(["6", "7", "4", "3"], "A")', "6A7A4A3"),
        ('STRINGJOIN(["a", 1], "A")', UNDEFINED),
        ('STRINGSPLIT("Handlebar", "e")', ["Handl", "bar"]),
        ('STRINGSPLIT("xenmoun mountain bike", "moun")', ["xen", " ", "tain bike"]),
        ('STRINGSPLIT("AluminumBikeFrame", undefined)', UNDEFINED),
        ('STRINGSPLIT("Helmet", "")', ["Helmet"]),
        ('STRINGSPLIT("", "")', [""]),
        ("StringToArray('[]')", []),
        ('StringToArray("[\\"str\\",2,3]")', ["str", 2, 3]),
        ("StringToArray('[1,2,3, \"[4,5,6]\",[7,8]]')", [1, 2, 3, "[4,5,6]", [7, 8]]),
        ("StringToArray(\"['5','6','7']\")", UNDEFINED),
        ('StringToArray("[")', UNDEFINED),
        ('StringToArray("1")', UNDEFINED),
        ("StringToArray(NaN)", UNDEFINED),
        ('StringToArray("[NaN]")', UNDEFINED),
        ("StringToArray(undefined)", UNDEFINED),
        ('StringToBoolean("true")', True),
        ('StringToBoolean("    false")', False),
        ('StringToBoolean("false    ")', False),
        ('StringToBoolean("TRUE")', UNDEFINED),
        ('StringToBoolean("null")', UNDEFINED),
        ("StringToBoolean(true)", UNDEFINED),
        ('StringToNull("null")', None),
        ('StringToNull("Null")', UNDEFINED),
        ('StringToNumber("100")', 100),
        ('StringToNumber("3.14")', 3.14),
        ('StringToNumber("   60   ")', 60),
        ('StringToNumber("-1.79769e+308")', -1.79769e308),
        ('StringToNumber("Hello")', UNDEFINED),
        ('StringToNumber("true")', UNDEFINED),
        ('StringToNumber("1e309")', UNDEFINED),
        ('StringToNumber("9223372036854775807")', 2**63 - 1),
        ("ToString(StringToNumber('9223372036854775808'))", "9.223372036854776e+18"),
        ("StringToObject('{\"a\": 1}')", {"a": 1}),
        ("StringToObject('{\"a\": -1e309}')", UNDEFINED),
        ("StringToObject('[]')", UNDEFINED),
        (f"SUBSTRING({WORKS}, 0, 9)", "Adventure"),
        (f"SUBSTRING({WORKS}, 9, 5)", "Works"),
        (f"SUBSTRING({WORKS}, 0, LENGTH({WORKS}))", "AdventureWorks"),
        (f"SUBSTRING({WORKS}, 0, -1)", ""),
        ("ToString(125)", "125"),
        ("ToString(0.1234)", "0.1234"),
        ("ToString(false)", "false"),
        ("ToString([1, 2, 3])", "[1,2,3]"),
        ('ToString({"department": "Bicycles"})', '{"department":"Bicycles"}'),
        ('ToString("Hello World")', "Hello World"),
        ("ToString(undefined)", UNDEFINED),
        ("ToString(NaN)", "NaN"),
        ("ToString(Infinity)", "Infinity"),
        ('UPPER("Abc")', "ABC"),
        ("UPPER(1)", UNDEFINED),
        ('CONTAINS("abc", 1)', UNDEFINED),
        ('CONTAINS("abc", "a", "true")', UNDEFINED),
    ],
)
def test_string_functions(expression: str, expected: object) -> None:
    """String functions give what the reference shows, and are undefined for what is no string."""
    check(expression, expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ('ARRAY_CONCAT(["apples"], ["bananas"], [])', ["apples", "bananas"]),
        ('ARRAY_CONTAINS(["coats", "jackets"], "coats")', True),
        ('ARRAY_CONTAINS(["coats", "jackets"], "hoodies")', False),
        ('ARRAY_CONTAINS([{category: "shirts", color: "blue"}], {category: "shirts", color: "blue"})', True),
        ('ARRAY_CONTAINS([{category: "shirts", color: "blue"}], {category: "shirts"})', False),
        ('ARRAY_CONTAINS([{category: "shirts", color: "blue"}], {category: "shirts"}, true)', True),
        ('ARRAY_CONTAINS([{category: "shirts", color: "blue"}], {category: "shorts", color: "blue"}, true)', False),
        ("ARRAY_CONTAINS([1, true], 1, true)", True),
        ("ARRAY_CONTAINS([true], 1)", False),
        ("ARRAY_CONTAINS([1], undefined)", UNDEFINED),
        ('ARRAY_CONTAINS("abc", "a")', UNDEFINED),
        ('ARRAY_CONTAINS_ALL([1, true, "3", [1,2,3]], 1, true, "3", [1,2,3])', True),
        ("ARRAY_CONTAINS_ALL([1, 2, 3, 4], 2, 3, 4, 5)", False),
        ("ARRAY_CONTAINS_ALL([1, 2, 3, 4], 1, undefined)", UNDEFINED),
        ("ARRAY_CONTAINS_ALL([], 1, 2, 3)", False),
        ("ARRAY_CONTAINS_ALL([1, 2, 3, 4], 5, undefined)", False),
        ("ARRAY_CONTAINS_ANY([1, 2, 3, 4], 9, 3)", True),
        ("ARRAY_CONTAINS_ANY([1, 2, 3, 4], 1, undefined)", True),
        ("ARRAY_CONTAINS_ANY([1, 2, 3, 4], 5, undefined)", UNDEFINED),
        ("ARRAY_CONTAINS_ANY([1, 2, 3, 4], 5, 6)", False),
        ("ARRAY_LENGTH([70, 86, 92, 99, 85, 90, 82])", 7),
        ("ARRAY_LENGTH({})", UNDEFINED),
        (f"ARRAY_SLICE({BIKES}, 1)", ["strawberries", "bananas"]),
        (f"ARRAY_SLICE({BIKES}, 1, 1)", ["strawberries"]),
        (f"ARRAY_SLICE({BIKES}, -2, 1)", ["strawberries"]),
        (f"ARRAY_SLICE({BIKES}, -2, 2)", ["strawberries", "bananas"]),
        (f"ARRAY_SLICE({BIKES}, 1, 0)", []),
        (f"ARRAY_SLICE({BIKES}, 1, 1000)", ["strawberries", "bananas"]),
        (f"ARRAY_SLICE({BIKES}, 1, -100)", []),
        (f"ARRAY_SLICE({BIKES}, -9, 1)", ["apples"]),
        ('CHOOSE(0, "abc", 1, true, [1])', UNDEFINED),
        ('CHOOSE(1, "abc", 1, true, [1])', "abc"),
        ('CHOOSE(4, "abc", 1, true, [1])', [1]),
        ('CHOOSE(5, "abc", 1, true, [1])', UNDEFINED),
        ('ObjectToArray({"a": "12345", "b": "67890"})', [{"k": "a", "v": "12345"}, {"k": "b", "v": "67890"}]),
        ('ObjectToArray({"a": "12345"}, "name")', [{"name": "a", "v": "12345"}]),
        ('ObjectToArray({"a": "12345"}, "key", "value")', [{"key": "a", "value": "12345"}]),
        ("ObjectToArray([1])", UNDEFINED),
        ("SetIntersect([1, 2, 3, 4], [3, 4, 5, 6])", [3, 4]),
        ("SetIntersect([1, 2, 3, 4], [])", []),
        ("SetIntersect([1, 2, 3, 4], [1, 1, 1, 1])", [1]),
        ('SetIntersect([1, 2, 3, 4], ["A", "B"])', []),
        ('SetIntersect([1, 2, "A", "B"], ["A", 1])', ["A", 1]),
        ("SetIntersect([true], [1])", []),
        ("SetUnion([1, 2, 3, 4], [3, 4, 5, 6])", [1, 2, 3, 4, 5, 6]),
        ("SetUnion([1, 2, 3, 4], [])", [1, 2, 3, 4]),
        ('SetUnion([1, 2, "A", "B"], ["A", 1])', [1, 2, "A", "B"]),
        ("SetUnion([{a: 1}], [{a: 1.0}, {a: 2}])", [{"a": 1}, {"a": 2}]),
    ],
)
def test_array_functions(expression: str, expected: object) -> None:
    """Array functions give what the reference shows, and are undefined for what is no array."""
    check(expression, expected)


VALUES = ["true", "1", '"value"', "[1]", "null", "{}", "{a: 1}.a", "{}.a", "1.5", "NaN"]


@pytest.mark.parametrize(
    ("function", "which"),
    [
        ("IS_ARRAY", {"[1]"}),
        ("IS_BOOL", {"true"}),
        ("IS_DEFINED", set(VALUES) - {"{}.a"}),
        ("IS_FINITE_NUMBER", {"1", "{a: 1}.a", "1.5"}),
        ("IS_INTEGER", {"1", "{a: 1}.a"}),
        ("IS_NULL", {"null"}),
        ("IS_NUMBER", {"1", "{a: 1}.a", "1.5", "NaN"}),
        ("IS_OBJECT", {"{}"}),
        ("IS_PRIMITIVE", set(VALUES) - {"[1]", "{}", "{}.a"}),
        ("IS_STRING", {'"value"'}),
    ],
)
def test_type_checks(function: str, which: set[str]) -> None:
    """A type check is true of values of its type, and false, never undefined, of all others."""
    results = {value: value_of(f"{function}({value})") for value in VALUES}
    assert results == {value: value in which for value in VALUES}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("IS_INTEGER(3454.123)", False),
        ("IS_INTEGER(-9223372036854775808)", True),
        ("IS_INTEGER(9223372036854775807)", True),
        ("IS_INTEGER(18446744073709551615)", False),
        ("IS_INTEGER(5.0)", True),
        ("IIF(true, 123, 456)", 123),
        ("IIF(false, 123, 456)", 456),
        ("IIF(123, 123, 456)", 456),
        ('IIF("ABC", 123, 456)', 456),
        ('IIF({"name": "Alice"}, 123, 456)', 456),
        ("IIF(undefined, 123, 456)", 456),
        ("IIF(true, undefined, 456)", UNDEFINED),
        ("ABS(-1)", 1),
        ("ABS(0.5)", 0.5),
        ("ACOS(-1)", math.pi),
        ("ASIN(-1)", -math.pi / 2),
        ("ATAN(-45.01)", math.atan(-45.01)),
        ("ATN2(35.175643, 129.44)", math.atan2(35.175643, 129.44)),
        ("CEILING(62.6)", 63),
        ("CEILING(-145.12)", -145),
        ("CEILING(0.2989)", 1),
        ("COS(14.78)", math.cos(14.78)),
        ("COT(124.1332)", 1 / math.tan(124.1332)),
        ("COT(0)", UNDEFINED),
        ("DEGREES(PI() / 2)", 90),
        ("EXP(0)", 1),
        ("EXP(1000)", UNDEFINED),
        ("FLOOR(62.6)", 62),
        ("FLOOR(-145.12)", -146),
        ("LOG(10)", math.log(10)),
        ("LOG(8, 2)", 3),
        ("LOG(0)", UNDEFINED),
        ("LOG10(100)", 2),
        ("NumberBin(37.752, -100)", 100),
        ("NumberBin(37.752, 10)", 30),
        ("NumberBin(37.752)", 37),
        ("NumberBin(37.752, 0)", UNDEFINED),
        ("NumberBin(37.752, 0.1)", 37.7),
        ("NumberBin(37.752, 0.01)", 37.75),
        ("PI()", math.pi),
        ("POWER(2, 3)", 8),
        ("POWER(2.5, 3)", 15.625),
        ("POWER(10, 1000)", UNDEFINED),
        ("RADIANS(180)", math.pi),
        ("ROUND(2.4)", 2),
        ("ROUND(2.5)", 3),
        ("ROUND(-6.5)", -7),
        ("ROUND(-0.5)", -1),
        ("ROUND(2.4567, 2)", 2.46),
        ("ROUND(-2.5, 0)", -3),
        ("ROUND(1234.5, -2)", 1200),
        ("ROUND(-1250, -2)", -1300),
        ("ROUND(1.5, 9223372036854775807)", UNDEFINED),
        ("ROUND(1.5, 0.5)", UNDEFINED),
        ("SIGN(-2)", -1),
        ("SIGN(0)", 0),
        ("SIN(45.175643)", math.sin(45.175643)),
        ("SQRT(4)", 2),
        ("SQRT(-1)", UNDEFINED),
        ("SQUARE(3)", 9),
        ("TAN(PI() / 2) > 1e15", True),
        ("TRUNC(2.37)", 2),
        ("TRUNC(-2.78)", -2),
        ("TRUNC(0.0000714)", 0),
        ("RAND() >= 0 AND RAND() < 1", True),
        ('ABS("1")', UNDEFINED),
        ("ABS(true)", UNDEFINED),
        ("IntAdd(20, 10)", 30),
        ("IntAdd(20, 0.4)", UNDEFINED),
        ("IntAdd(9223372036854775807, 1)", -(2**63)),
        ("IntSub(10, 20)", -10),
        ("IntMul(5, -3)", -15),
        ("IntDiv(10, -2)", -5),
        ("IntDiv(-7, 2)", -3),
        ("IntDiv(10, 0)", UNDEFINED),
        ("IntDiv(10, 0.1)", UNDEFINED),
        ("IntMod(12, 5)", 2),
        ("IntMod(12, -5)", 2),
        ("IntMod(-12, -5)", -2),
        ("IntMod(12, 0)", UNDEFINED),
        ("IntBitAnd(15, 25)", 9),
        ("IntBitOr(56, 100)", 124),
        ("IntBitXor(56, 100)", 92),
        ("IntBitNot(65)", -66),
        ("IntBitLeftShift(16, 4)", 256),
        ("IntBitLeftShift(16, 0.4)", UNDEFINED),
        ("IntBitLeftShift(1, 63)", -(2**63)),
        ("IntBitRightShift(16, 4)", 1),
    ],
)
def test_numbers_and_conditions(expression: str, expected: object) -> None:
    """Mathematical functions give what the reference shows, and are undefined where mathematics is."""
    check(expression, expected)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (f'DateTimeAdd("yyyy", 1, {ADDED})', "2021-07-03T00:00:00.0000000Z"),
        (f'DateTimeAdd("mm", 1, {ADDED})', "2020-08-03T00:00:00.0000000Z"),
        (f'DateTimeAdd("dd", 1, {ADDED})', "2020-07-04T00:00:00.0000000Z"),
        (f'DateTimeAdd("hh", -1, {ADDED})', "2020-07-02T23:00:00.0000000Z"),
        (f'DateTimeAdd("mm", -7, {ADDED})', "2019-12-03T00:00:00.0000000Z"),
        (f'DateTimeAdd("ss", 5 * -5, {ADDED})', "2020-07-02T23:59:35.0000000Z"),
        (f'DateTimeAdd("ns", 250, {ADDED})', "2020-07-03T00:00:00.0000002Z"),
        ('DateTimeAdd("month", 1, "2021-01-31")', "2021-02-28T00:00:00.0000000Z"),
        ('DateTimeAdd("year", 8000, "2021-01-31")', UNDEFINED),
        ('DateTimeAdd("day", 9e15, "2021-01-31")', UNDEFINED),
        ('DateTimeAdd("day", 1.5, "2021-01-31")', UNDEFINED),
        ('DateTimeAdd("days", 1, "2021-01-31")', UNDEFINED),
        ('DateTimeAdd("day", 1, "31.1.2021")', UNDEFINED),
        ('DateTimeAdd("day", 1, "2021-02-30")', UNDEFINED),
        ('DateTimeAdd("day", 1, "2021-02-03T24:00:00Z")', UNDEFINED),
        (f'DateTimeBin({BINNED}, "dd")', "2021-01-08T00:00:00.0000000Z"),
        (f'DateTimeBin({BINNED}, "hh")', "2021-01-08T18:00:00.0000000Z"),
        (f'DateTimeBin({BINNED}, "ss")', "2021-01-08T18:35:00.0000000Z"),
        (f'DateTimeBin({BINNED}, "hh", 5)', "2021-01-08T15:00:00.0000000Z"),
        (f'DateTimeBin({BINNED}, "dd", 7)', "2021-01-07T00:00:00.0000000Z"),
        (f'DateTimeBin({BINNED}, "dd", 7, "1601-01-01T00:00:00.0000000")', "2021-01-04T00:00:00.0000000Z"),
        (f'DateTimeBin({BINNED}, "dd", 7, "1600-01-01T00:00:00.0000000")', UNDEFINED),
        (f'DateTimeBin({BINNED}, "yy")', UNDEFINED),
        (f'DateTimeBin({BINNED}, "dd", 0)', UNDEFINED),
        (f'DateTimeDiff("yyyy", {START}, {END})', -1),
        (f'DateTimeDiff("mm", {START}, {END})', -11),
        (f'DateTimeDiff("diffDays", {START}, {END})', UNDEFINED),
        (f'DateTimeDiff("hh", {START}, {END})', -8075),
        (f'DateTimeDiff("ss", {START}, {END})', -29070000),
        (f'DateTimeDiff("ss", {END}, {START})', 29070000),
        ('DateTimeDiff("day", "2020-01-01T01:02:03.1234527Z", "2020-01-03T01:02:03.1234567Z")', 2),
        ('DateTimeDiff("yyyy", "2028-01-01T01:02:03.1234527Z", "2020-01-03T01:02:03.1234567Z")', -8),
        ('DateTimeDiff("hh", "2020-01-01T01:00:00.1234527Z", "2020-01-01T01:59:59.1234567Z")', 0),
        ('DateTimeDiff("ns", "2020-01-01T01:00:00.1234527Z", "2020-01-01T01:00:00.1234567Z")', 4000),
        ("DateTimeFromParts(2017, 4, 20)", "2017-04-20T00:00:00.0000000Z"),
        ("DateTimeFromParts(2017, 4, 20, 13, 15, 20, 3456789)", "2017-04-20T13:15:20.3456789Z"),
        ("DateTimeFromParts(2017, 4, 20, 13, 15)", "2017-04-20T13:15:00.0000000Z"),
        ("DateTimeFromParts(-2000, -1, -1)", UNDEFINED),
        ("DateTimeFromParts(2017, 4, 20, 24)", UNDEFINED),
        (f'DateTimePart("yyyy", {PARTED})', 2016),
        (f'DateTimePart("mm", {PARTED})', 5),
        (f'DateTimePart("dd", {PARTED})', 29),
        (f'DateTimePart("hh", {PARTED})', 8),
        (f'DateTimePart("mi", {PARTED})', 30),
        (f'DateTimePart("ss", {PARTED})', 0),
        (f'DateTimePart("ms", {PARTED})', 130),
        (f'DateTimePart("mcs", {PARTED})', 130161),
        (f'DateTimePart("ns", {PARTED})', 130161700),
        (f'DateTimePart("week", {PARTED})', UNDEFINED),
        ('DateTimeToTicks("2015-05-19T12:00:00.0000000")', 14320368000000000),
        ('DateTimeToTicks("1969-12-31T23:59:59Z")', -10000000),
        ('DateTimeToTicks("noon")', UNDEFINED),
        ('DateTimeToTimestamp("2020-07-09T23:20:13.4575530Z")', 1594336813457),
        ('DateTimeToTimestamp("2020-07-09")', 1594252800000),
        ("TicksToDateTime(15943368134575530)", "2020-07-09T23:20:13.4575530Z"),
        ("TicksToDateTime(9e18)", UNDEFINED),
        ("TimestampToDateTime(1594227912345)", "2020-07-08T17:05:12.3450000Z"),
        ('TimestampToDateTime("x")', UNDEFINED),
    ],
)
def test_dates(expression: str, expected: object) -> None:
    """Date and time functions give what the reference shows, and are undefined for what is no date."""
    check(expression, expected)


def test_the_present_is_told_in_three_ways() -> None:
    """The current time comes as a text, as ticks and as milliseconds, and its static forms are the query's own time."""
    before = datetime.now(UTC)
    text, ticks, milliseconds = value_of("[GetCurrentDateTime(), GetCurrentTicks(), GetCurrentTimestamp()]")
    after = datetime.now(UTC)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", text)
    assert before.timestamp() * 1000 - 1 <= milliseconds <= after.timestamp() * 1000
    assert before.timestamp() * 1e7 - 10_000 <= ticks <= after.timestamp() * 1e7 + 10_000
    static = "[GetCurrentDateTimeStatic(), GetCurrentTicksStatic(), GetCurrentTimestampStatic()]"
    assert value_of(static, {NOW: 15943368134575530}) == [
        "2020-07-09T23:20:13.4575530Z",
        15943368134575530,
        1594336813457,
    ]


@pytest.mark.parametrize(
    ("call", "wanted"),
    [
        ("CONTAINS('a')", "The CONTAINS function requires 2 to 3 argument(s)."),
        ("lower()", "The LOWER function requires 1 argument(s)."),
        ("CONCAT('a')", "The CONCAT function requires at least 2 argument(s)."),
        ("PI(1)", "The PI function requires 0 argument(s)."),
        ("BadFunc(1)", "'BadFunc' is not a recognized built-in function name."),
    ],
)
def test_wrong_calls_are_refused(call: str, wanted: str) -> None:
    """A call of an unknown function, or with a wrong number of arguments, gets 400 in Azure's words."""
    with pytest.raises(CosmosError) as caught:
        value_of(call)
    assert json.loads(caught.value.message.removeprefix("Message: "))["errors"][0]["message"] == wanted


any_value = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=4)
    | st.just(UNDEFINED),
    lambda inner: (
        st.lists(inner.filter(lambda value: value is not UNDEFINED), max_size=3)
        | st.dictionaries(st.text(max_size=2), inner.filter(lambda value: value is not UNDEFINED), max_size=3)
    ),
    max_leaves=4,
)
part_names = st.sampled_from(["yyyy", "mm", "dd", "ns", "x"])
dates = st.sampled_from(["2020-02-29", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.9999999Z"])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(any_value | part_names | dates, min_size=7, max_size=7))
def test_functions_take_anything(name: str, values: list[Any]) -> None:
    """Whatever values a function is called with, it gives a value of the language and never raises."""
    function = FUNCTIONS[name]
    count = function.required if function.is_endless else len(function.checks)
    distinct_key(function(*values[:count]))
