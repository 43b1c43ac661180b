"""Every function by name, and the names of those that Azure has and this emulator has not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fastapi_azure_pool.emulator.cosmos.errors import not_supported
from fastapi_azure_pool.emulator.cosmos.query.functions.arrays import ARRAY_FUNCTIONS
from fastapi_azure_pool.emulator.cosmos.query.functions.dates import DATE_FUNCTIONS
from fastapi_azure_pool.emulator.cosmos.query.functions.numbers import NUMBER_FUNCTIONS
from fastapi_azure_pool.emulator.cosmos.query.functions.strings import STRING_FUNCTIONS
from fastapi_azure_pool.emulator.cosmos.query.functions.types import TYPE_FUNCTIONS
from fastapi_azure_pool.emulator.cosmos.query.refusals import semantic_error

if TYPE_CHECKING:
    from fastapi_azure_pool.emulator.cosmos.query.functions.signature import Function
    from fastapi_azure_pool.emulator.cosmos.query.syntax import Call

FUNCTIONS = STRING_FUNCTIONS | ARRAY_FUNCTIONS | TYPE_FUNCTIONS | NUMBER_FUNCTIONS | DATE_FUNCTIONS

_AZURE_ONLY = re.compile(
    "ARRAY_(AVG|MAX|MEDIAN|MIN|SUM)|DOCUMENTID|FULLTEXT(CONTAINS|CONTAINSALL|CONTAINSANY|SCORE)|(LAST)?SUBSTRING(AFTER|BEFORE)|"
    "MAKE(LIST|SET)|RRF|SET(DIFFERENCE|EQUAL)|ST_(AREA|DISTANCE|INTERSECTS|ISVALID|ISVALIDDETAILED|WITHIN)|VECTORDISTANCE"
)


def find_function(call: Call) -> Function:
    """Return the function that is called.

    Raises:
        CosmosError: 400, there is none of that name, or it takes another number of arguments.
    """
    found = FUNCTIONS.get(call.function)
    if found is None:
        if _AZURE_ONLY.fullmatch(call.function):
            raise not_supported(f"The function {call.spelling}")
        raise semantic_error("SC2005", f"'{call.spelling}' is not a recognized built-in function name.")
    found.check_count(len(call.arguments))
    return found
