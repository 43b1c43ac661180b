"""The query language's clauses over a few items: sources and joins, subqueries, grouping, aggregates, DISTINCT.

Where the items are Microsoft's, so are the results ("Query language reference in Azure Cosmos DB for NoSQL").
"""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.cosmos.errors import CosmosError
from fastapi_azure_pool.emulator.cosmos.partitioning import UNDEFINED
from fastapi_azure_pool.emulator.cosmos.query.aggregates import AGGREGATES
from fastapi_azure_pool.emulator.cosmos.query.compiler import compile_query
from fastapi_azure_pool.emulator.cosmos.query.plan import plan_for_refusal, query_plan

FAMILIES: list[Any] = [
    {
        "id": "AndersenFamily",
        "parents": [{"firstName": "Thomas"}, {"firstName": "Mary Kay"}],
        "children": [{"firstName": "Henriette", "grade": 5, "pets": [{"givenName": "Fluffy"}]}],
        "address": {"state": "WA", "city": "Seattle"},
        "isRegistered": True,
    },
    {
        "id": "WakefieldFamily",
        "parents": [{"familyName": "Wakefield"}, {"familyName": "Miller"}],
        "children": [
            {"givenName": "Jesse", "grade": 1, "pets": [{"givenName": "Goofy"}, {"givenName": "Shadow"}]},
            {"givenName": "Lisa", "grade": 8},
        ],
        "address": {"state": "NY", "city": "NY"},
        "isRegistered": False,
    },
    {"id": "Nobody", "children": "none", "address": "unknown"},
]
LANGUAGES = ("python", "javascript", "c-sharp", "javascript", None, "python", "javascript")
TRAINED = (True, False, True, True, True, False, True)
EMPLOYEES: list[Any] = [
    {"capabilities": ({"softwareDevelopment": language} if language else {}) | {"mediaTrained": trained}}
    for language, trained in zip(LANGUAGES, TRAINED, strict=True)
]


def results(query: str, items: list[Any], **parameters: Any) -> list[Any]:
    """Return what a query makes of items in one partition, without ORDER BY and limits."""
    block = compile_query(query).block
    named = {f"@{name}": value for name, value in parameters.items()}
    return list(block.results((row for item in items for row in block.rows((item,), named)), named))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT f.id FROM Families AS f", [{"id": "AndersenFamily"}, {"id": "WakefieldFamily"}, {"id": "Nobody"}]),
        ("SELECT * FROM Families.address.state", ["WA", "NY"]),
        ("SELECT VALUE a FROM Families.address.state AS a", ["WA", "NY"]),
        ("SELECT VALUE state FROM Families['address'].state", ["WA", "NY"]),
        ("SELECT VALUE c.grade FROM c IN Families.children", [5, 1, 8]),
        ("SELECT * FROM c IN Families.children[0].pets", [{"givenName": p} for p in ("Fluffy", "Goofy", "Shadow")]),
        ("SELECT VALUE COUNT(1) FROM child IN Families.children", [3]),
        ("SELECT f.id FROM Families f JOIN f.children", [{"id": family["id"]} for family in FAMILIES]),
        (
            "SELECT f.id FROM Families f JOIN c IN f.children",
            [{"id": "AndersenFamily"}, {"id": "WakefieldFamily"}, {"id": "WakefieldFamily"}],
        ),
        (
            (
                "SELECT f.id AS familyName, c.givenName AS childGivenName, p.givenName AS petName "
                "FROM Families f JOIN c IN f.children JOIN p IN c.pets"
            ),
            [
                {"familyName": "AndersenFamily", "petName": "Fluffy"},
                {"familyName": "WakefieldFamily", "childGivenName": "Jesse", "petName": "Goofy"},
                {"familyName": "WakefieldFamily", "childGivenName": "Jesse", "petName": "Shadow"},
            ],
        ),
        (
            "SELECT VALUE p.givenName FROM Families f JOIN c IN f.children JOIN p IN c.pets WHERE p.givenName = @pet",
            ["Shadow"],
        ),
        (
            "SELECT VALUE {n: c.grade + 1, all: [c.grade]} FROM c IN Families.children",
            [{"n": 6, "all": [5]}, {"n": 2, "all": [1]}, {"n": 9, "all": [8]}],
        ),
        ("SELECT f.id FROM Families f JOIN f.nothing", []),
        ("SELECT f.id FROM Families f JOIN x IN f.nothing", []),
    ],
)
def test_sources(query: str, expected: list[Any]) -> None:
    """FROM scopes to a part of an item, IN goes through an array, and JOIN is the product of an item with its parts."""
    assert results(query, FAMILIES, pet="Shadow") == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT (SELECT VALUE 1) AS a, (SELECT VALUE 2) AS b FROM f", [{"a": 1, "b": 2}] * 3),
        ("SELECT VALUE (SELECT VALUE CONCAT('id_', f.id)) FROM f WHERE f.isRegistered", ["id_AndersenFamily"]),
        ("SELECT (SELECT f.id WHERE f.isRegistered).id FROM f", [{"id": "AndersenFamily"}, {}, {}]),
        ("SELECT VALUE (SELECT VALUE COUNT(1) FROM c IN f.children WHERE c.grade > 3) FROM f", [1, 1, 0]),
        (
            "SELECT VALUE (SELECT COUNT(1) AS n, SUM(c.grade) AS s FROM c IN f.children) FROM f",
            [{"n": 1, "s": 5}, {"n": 2, "s": 9}, {"n": 0, "s": 0}],
        ),
        (
            "SELECT f.id, n FROM f JOIN (SELECT VALUE COUNT(1) FROM c IN f.children) AS n WHERE n > 1",
            [{"id": "WakefieldFamily", "n": 2}],
        ),
        ("SELECT VALUE a FROM f JOIN (SELECT VALUE AVG(c.grade) FROM c IN f.children) a", [5, 4.5]),
        (
            "SELECT VALUE f.id FROM f WHERE EXISTS(SELECT VALUE c FROM c IN f.children WHERE c.grade = 8)",
            ["WakefieldFamily"],
        ),
        ("SELECT VALUE EXISTS(SELECT VALUE undefined) FROM f", [False] * 3),
        ("SELECT VALUE EXISTS(SELECT undefined) FROM f", [True] * 3),
        ("SELECT VALUE ARRAY(SELECT VALUE c.grade FROM c IN f.children WHERE c.grade != 1) FROM f", [[5], [8], []]),
        ("SELECT VALUE ARRAY(SELECT c.grade FROM c IN f.children) FROM f WHERE f.isRegistered", [[{"grade": 5}]]),
        ("SELECT VALUE n FROM f JOIN n IN (SELECT VALUE ARRAY(SELECT VALUE c.grade FROM c IN f.children))", [5, 1, 8]),
        ("SELECT VALUE x.a FROM f JOIN x IN (SELECT VALUE [{a: 1}, {a: 2}]) WHERE f.isRegistered", [1, 2]),
        ("SELECT VALUE 1 FROM f JOIN (SELECT VALUE p FROM p IN f.parents WHERE p.firstName = 'Thomas')", [1]),
        (
            "SELECT VALUE ARRAY(SELECT DISTINCT VALUE c.grade > 4 FROM c IN f.children) FROM f",
            [[True], [False, True], []],
        ),
        (
            (
                "SELECT VALUE ARRAY(SELECT c.grade > 4 AS high, COUNT(1) AS n FROM c IN f.children GROUP BY c.grade > 4) "
                "FROM f WHERE f.isRegistered = false"
            ),
            [[{"high": False, "n": 1}, {"high": True, "n": 1}]],
        ),
        ("SELECT VALUE (SELECT VALUE f.id FROM f) FROM f WHERE f.isRegistered", ["AndersenFamily"]),
        ("SELECT VALUE (SELECT * FROM f.address) FROM f WHERE f.isRegistered", [{"state": "WA", "city": "Seattle"}]),
        ("SELECT VALUE (SELECT VALUE COUNT((SELECT VALUE c.pets)) FROM c IN f.children) FROM f", [1, 1, 0]),
    ],
)
def test_subqueries(query: str, expected: list[Any]) -> None:
    """A query in parentheses gives one value, ARRAY all of them, EXISTS whether there are any; it sees what is around it."""
    assert results(query, FAMILIES) == expected


def test_a_scalar_subquery_has_one_value() -> None:
    """A subquery with several values where one is wanted gets 400, once such an item comes."""
    query = "SELECT VALUE (SELECT VALUE c.grade FROM c IN f.children) FROM f"
    assert results(query, FAMILIES[:1]) == [5]
    with pytest.raises(CosmosError, match="cannot be greater than one"):
        results(query, FAMILIES)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            (
                "SELECT COUNT(1) AS n, e.capabilities.softwareDevelopment AS lang FROM e "
                "GROUP BY e.capabilities.softwareDevelopment"
            ),
            [{"n": 2, "lang": "python"}, {"n": 3, "lang": "javascript"}, {"n": 1, "lang": "c-sharp"}, {"n": 1}],
        ),
        (
            (
                "SELECT COUNT(1) AS n, e.capabilities.softwareDevelopment AS lang, e.capabilities.mediaTrained AS ready "
                "FROM e GROUP BY e.capabilities.softwareDevelopment, e.capabilities.mediaTrained"
            ),
            [
                {"n": 1, "lang": "python", "ready": True},
                {"n": 1, "lang": "javascript", "ready": False},
                {"n": 1, "lang": "c-sharp", "ready": True},
                {"n": 2, "lang": "javascript", "ready": True},
                {"n": 1, "ready": True},
                {"n": 1, "lang": "python", "ready": False},
            ],
        ),
        (
            "SELECT VALUE UPPER(e.capabilities.softwareDevelopment) FROM e GROUP BY UPPER(e.capabilities.softwareDevelopment)",
            ["PYTHON", "JAVASCRIPT", "C-SHARP"],
        ),
        (
            (
                "SELECT VALUE {l: LENGTH(e.capabilities.softwareDevelopment), n: COUNT(1)} FROM e "
                "WHERE e.capabilities.mediaTrained GROUP BY e.capabilities.softwareDevelopment"
            ),
            [{"l": 6, "n": 1}, {"l": 7, "n": 1}, {"l": 10, "n": 2}, {"n": 1}],
        ),
        ("SELECT 'all' AS who, COUNT(1) * 2 AS n FROM e", [{"who": "all", "n": 14}]),
        ("SELECT VALUE 1 FROM e GROUP BY e.capabilities.mediaTrained", [1, 1]),
        ("SELECT DISTINCT VALUE 1 FROM e GROUP BY e.capabilities.mediaTrained", [1]),
        ("SELECT DISTINCT VALUE e.capabilities.softwareDevelopment FROM e", ["python", "javascript", "c-sharp"]),
        ("SELECT DISTINCT e.capabilities.mediaTrained FROM e", [{"mediaTrained": True}, {"mediaTrained": False}]),
        ("SELECT VALUE COUNT(1) FROM e GROUP BY e.nothing", [7]),
        ("SELECT e.x FROM e WHERE false GROUP BY e.x", []),
    ],
)
def test_groups(query: str, expected: list[Any]) -> None:
    """GROUP BY makes one result of the rows that agree, also in what they lack; DISTINCT makes one of equal results."""
    assert results(query, EMPLOYEES) == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 1, 2], {"avg": 2, "count": 3, "max": 3, "min": 1, "sum": 6}),
        ([1, 2], {"avg": 1.5, "count": 2, "max": 2, "min": 1, "sum": 3}),
        ([], {"count": 0, "sum": 0}),
        ([UNDEFINED, 4], {"avg": 4, "count": 1, "max": 4, "min": 4, "sum": 4}),
        ([UNDEFINED], {"count": 0, "sum": 0}),
        ([1, "a", None, True], {"count": 4, "max": "a", "min": None}),
        ([1, [2]], {"count": 2}),
        ([True, False], {"count": 2, "max": True, "min": False}),
        ([10**400, 1.5], {"avg": math.inf, "count": 2, "max": 10**400, "min": 1.5, "sum": math.inf}),
        ([1.5, 2**62, 2**62], {"avg": (2.0**63 + 1.5) / 3, "count": 3, "max": 2**62, "min": 1.5, "sum": 2.0**63}),
    ],
)
def test_aggregates(values: list[Any], expected: dict[str, Any]) -> None:
    """SUM and AVG are of numbers only, MIN and MAX of anything that has an order, COUNT of all that is defined."""
    query = "SELECT AVG(c.v) AS avg, COUNT(c.v) AS count, MAX(c.v) AS max, MIN(c.v) AS min, SUM(c.v) AS sum FROM c"
    items = [{} if value is UNDEFINED else {"v": value} for value in values]
    assert results(query, items) == [expected]
    assert results("SELECT VALUE COUNTIF(c.v > 1) FROM c", items) == [
        sum(type(value) in {int, float} and value > 1 for value in values)
    ]


def parts(query: str, **parameters: Any) -> tuple[dict[str, Any], str]:
    """Return a query's plan, without its rewritten query, and that."""
    features = "Aggregate, CompositeAggregate, CountIf, Distinct, MultipleOrderBy, OffsetAndLimit, OrderBy, Top"
    named = {f"@{name}": value for name, value in parameters.items()}
    compiled = compile_query(query)
    plan = query_plan(compiled, named, features)
    assert plan == plan_for_refusal(compiled, named)
    info = plan["queryInfo"]
    return info, info["rewrittenQuery"]


@pytest.mark.parametrize(
    ("query", "aggregates", "rewritten"),
    [
        ("SELECT VALUE AVG(c.blah) FROM c", "Average", '{"item": {"sum": SUM(c.blah), "count": COUNT(c.blah)}}'),
        (
            "SELECT VALUE MIN(c.blah) FROM c",
            "Min",
            '{"item": MIN(c.blah), "item2": {"min": MIN(c.blah), "count": COUNT(c.blah)}}',
        ),
        (
            "SELECT VALUE MAX(c.blah) FROM c",
            "Max",
            '{"item": MAX(c.blah), "item2": {"max": MAX(c.blah), "count": COUNT(c.blah)}}',
        ),
        ("SELECT VALUE SUM(c.blah) FROM c", "Sum", '{"item": SUM(c.blah)}'),
        ("SELECT VALUE COUNT(1) FROM c", "Count", '{"item": COUNT(1)}'),
        ("SELECT VALUE COUNTIF(c.a) FROM c", "CountIf", '{"item": COUNTIF(c.a)}'),
        ("SELECT TOP 5 VALUE SUM(c.blah) FROM c", "Sum", '{"item": SUM(c.blah)}'),
        ("SELECT VALUE SUM(c.blah) FROM c ORDER BY c.a", "Sum", '{"item": SUM(c.blah)}'),
    ],
)
def test_plans_of_aggregates(query: str, aggregates: str, rewritten: str) -> None:
    """Each partition tells its part of an aggregate in the form that Azure's SDKs add up."""
    info, text = parts(query)
    assert info["aggregates"] == [aggregates]
    assert info["orderBy"] == []
    assert text == f"SELECT VALUE [{rewritten}]\nFROM c"


FILTER = "({documentdb-formattableorderbyquery-filter})"


@pytest.mark.parametrize(
    ("query", "told", "rewritten"),
    [
        ("SELECT * FROM c", {}, ""),
        ("SELECT TOP 5 * FROM c", {"top": 5}, ""),
        ("SELECT TOP @n * FROM c", {"top": 42}, ""),
        ("SELECT DISTINCT c.blah FROM c", {"distinctType": "Unordered"}, ""),
        (
            "SELECT DISTINCT TOP 5 VALUE c.a FROM c",
            {"distinctType": "Unordered", "top": 5},
            "SELECT DISTINCT VALUE c.a\nFROM c",
        ),
        ("SELECT * FROM c OFFSET 1 LIMIT 2", {"offset": 1, "limit": 2}, "SELECT *\nFROM c\nOFFSET 0 LIMIT 3"),
        ("SELECT * FROM c OFFSET 4294967295 LIMIT 9", {"limit": 9}, "SELECT *\nFROM c\nOFFSET 0 LIMIT 4294967295"),
        ("SELECT * FROM c OFFSET @n LIMIT @n", {"offset": 42, "limit": 42}, "SELECT *\nFROM c\nOFFSET 0 LIMIT 84"),
        (
            "SELECT DISTINCT * FROM c OFFSET 1 LIMIT 2",
            {"offset": 1, "limit": 2, "distinctType": "Unordered"},
            "SELECT DISTINCT *\nFROM c",
        ),
        (
            "SELECT DISTINCT VALUE c.blah FROM c ORDER BY c.blah",
            {"distinctType": "Ordered", "orderBy": ["Ascending"]},
            f'SELECT c._rid, [{{"item": c.blah}}] AS orderByItems, c.blah AS payload\nFROM c\nWHERE {FILTER}\nORDER BY c.blah ASC',
        ),
        (
            "SELECT DISTINCT c.a FROM c ORDER BY c.b",
            {"distinctType": "Unordered"},
            f'SELECT c._rid, [{{"item": c.b}}] AS orderByItems, {{"a": c.a}} AS payload\nFROM c\nWHERE {FILTER}\nORDER BY c.b ASC',
        ),
        (
            "SELECT TOP 2 * FROM c WHERE c.a = 1 ORDER BY c.a DESC, c.b",
            {"top": 2, "orderBy": ["Descending", "Ascending"], "orderByExpressions": ["c.a", "c.b"]},
            (
                'SELECT TOP 2 c._rid, [{"item": c.a}, {"item": c.b}] AS orderByItems, c AS payload\nFROM c\n'
                f"WHERE ((c.a = 1) AND {FILTER})\nORDER BY c.a DESC, c.b ASC"
            ),
        ),
    ],
)
def test_plans(query: str, told: dict[str, Any], rewritten: str) -> None:
    """A plan tells the client what to cut, sort and make distinct, and what to ask each partition instead."""
    info, text = parts(query, n=42)
    assert text == rewritten
    assert {name: info[name] for name in told} == told
    compile_query((rewritten or query).replace(FILTER, "(true)"))


@pytest.mark.parametrize("count", [-1, "1", 1.5, None, True, 2**32])
def test_top_takes_a_count(count: object) -> None:
    """TOP with a parameter that is no count gets 400, and so does one that did not come with the query."""
    for parameters in ({"n": count}, {}):
        with pytest.raises(CosmosError, match="count value provided for a TOP clause must be an integer"):
            parts("SELECT TOP @n * FROM c", **parameters)


WORDS = """
SELECT VALUE c x . ( ) [ ] { } , : * = < + - || ?? ? 1 'a' @p FROM WHERE JOIN IN GROUP BY ORDER DISTINCT TOP LIKE ESCAPE NOT EXISTS
ARRAY COUNT SUM LENGTH AND OR BETWEEN AS OFFSET LIMIT undefined null
"""
clauses = st.sampled_from(WORDS.split())


@settings(max_examples=200, deadline=None)
@given(st.lists(clauses, max_size=25).map(" ".join).map(lambda text: f"SELECT VALUE c.a FROM c {text}"))
def test_any_clauses_are_a_query_or_a_400(text: str) -> None:
    """Whatever words follow one another, they compile or are refused with 400, and what compiles runs or is refused."""
    assert status_of(text) in {200, 400}


def status_of(text: str) -> int:
    """Return 200 for a query that compiles, runs and can be printed, and the status of the refusal for another."""
    try:
        query = compile_query(text)
        list(query.block.results(query.block.rows(({"a": [1, "b"]},), {}), {}))
    except CosmosError as refusal:
        return refusal.status
    assert str(compile_query(str(query.syntax)).syntax) == str(query.syntax)
    return 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0]) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("ab", max_size=1), inner, max_size=2),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.lists(json_values, max_size=8))
def test_distinct_and_groups_agree_with_equality(values: list[Any]) -> None:
    """DISTINCT leaves the first of each equal value, and GROUP BY counts as many of each as are equal to it."""
    items = [{"v": value} for value in values]
    firsts: list[Any] = []
    counts: list[int] = []
    equal = compile_query("SELECT VALUE c.a = c.b FROM c")
    for value in values:
        matches = [equal.block.project(({"a": value, "b": first},), {}) for first in firsts]
        if True in matches:
            counts[matches.index(True)] += 1
        else:
            firsts.append(value)
            counts.append(1)
    assert json.dumps(results("SELECT DISTINCT VALUE c.v FROM c", items)) == json.dumps(firsts)
    assert results("SELECT VALUE COUNT(1) FROM c GROUP BY c.v", items) == counts


def test_every_aggregate_has_a_name_in_plans() -> None:
    """No aggregate is left without what the client calls it."""
    for name in AGGREGATES:
        info, _ = parts(f"SELECT VALUE {name}(c.a) FROM c")
        assert len(info["aggregates"]) == 1
