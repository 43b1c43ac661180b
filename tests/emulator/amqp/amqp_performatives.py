"""Performatives for Hypothesis, each made twice from the SDKs' own tables of fields: as the SDKs' class and as ours."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from azure.eventhub._pyamqp import endpoints, error, outcomes, performatives
from azure.eventhub._pyamqp.message import Header as SdkHeader
from azure.eventhub._pyamqp.message import Properties as SdkProperties
from azure.eventhub._pyamqp.types import AMQPTypes, FieldDefinition, ObjDefinition
from hypothesis import strategies as st

from fastapi_azure_pool.emulator.amqp import message as message_module
from fastapi_azure_pool.emulator.amqp import performatives as ours
from fastapi_azure_pool.emulator.amqp.values import Described, Symbol, Timestamp, UByte, UInt, ULong, UShort
from tests.emulator.amqp.amqp_values import SIMPLE, can_the_sdks_write, for_the_sdks, symbols, values

PERFORMATIVES: dict[type, Any] = {
    ours.Open: performatives.OpenFrame,
    ours.Begin: performatives.BeginFrame,
    ours.Attach: performatives.AttachFrame,
    ours.Flow: performatives.FlowFrame,
    ours.Transfer: performatives.TransferFrame,
    ours.Disposition: performatives.DispositionFrame,
    ours.Detach: performatives.DetachFrame,
    ours.End: performatives.EndFrame,
    ours.Close: performatives.CloseFrame,
    ours.SaslMechanisms: performatives.SASLMechanism,
    ours.SaslInit: performatives.SASLInit,
    ours.SaslChallenge: performatives.SASLChallenge,
    ours.SaslResponse: performatives.SASLResponse,
    ours.SaslOutcome: performatives.SASLOutcome,
}
DELIVERY_STATES: dict[type, Any] = {
    ours.Received: outcomes.Received,
    ours.Accepted: outcomes.Accepted,
    ours.Rejected: outcomes.Rejected,
    ours.Released: outcomes.Released,
    ours.Modified: outcomes.Modified,
}
TWINS: dict[type, Any] = {
    **PERFORMATIVES,
    **DELIVERY_STATES,
    ours.Source: endpoints.Source,
    ours.Target: endpoints.Target,
    ours.Error: error.AMQPError,
    message_module.Header: SdkHeader,
    message_module.Properties: SdkProperties,
}

# Plain numbers: a field's type is known.
_OF_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    AMQPTypes.boolean: SIMPLE[bool],
    AMQPTypes.ubyte: SIMPLE[UByte].map(int),
    AMQPTypes.ushort: SIMPLE[UShort].map(int),
    AMQPTypes.uint: SIMPLE[UInt].map(int),
    AMQPTypes.ulong: SIMPLE[ULong].map(int),
    AMQPTypes.timestamp: SIMPLE[Timestamp].map(int),
    AMQPTypes.binary: SIMPLE[bytes],
    AMQPTypes.string: SIMPLE[str],
    AMQPTypes.symbol: SIMPLE[Symbol],
}
_OBJECTS: dict[Any, tuple[type, ...]] = {
    ObjDefinition.source: (ours.Source,),
    ObjDefinition.target: (ours.Target,),
    ObjDefinition.error: (ours.Error,),
    ObjDefinition.delivery_state: tuple(DELIVERY_STATES),
}


def _writable(depth: int = 1) -> st.SearchStrategy[Any]:
    return values(depth=depth).filter(can_the_sdks_write)


@st.composite
def pairs_of_maps(draw: st.DrawFn) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """Give a map of fields or annotations with its twin for the SDKs; never empty: the SDKs write null for those."""
    mine = draw(st.dictionaries(symbols, _writable(), min_size=1, max_size=3))
    return mine, {str(key): for_the_sdks(value) for key, value in mine.items()}


@st.composite
def _pairs_of_values(draw: st.DrawFn, definition: Any) -> tuple[Any, Any]:
    """Give a field's value with its twin for the SDKs."""
    kind = definition.type
    # The SDKs write no node properties but the empty ones.
    if kind is FieldDefinition.node_properties or not (definition.mandatory or draw(st.booleans())):
        return None, None
    if definition.multiple:
        items = draw(st.lists(symbols, max_size=3))
        return tuple(items), items
    if kind in _OBJECTS:
        return draw(pairs(draw(st.sampled_from(_OBJECTS[kind]))))
    if kind is FieldDefinition.fields:
        return draw(pairs_of_maps())
    if kind is FieldDefinition.filter_set:
        mine = draw(st.dictionaries(symbols, st.builds(Described, symbols, _writable()), min_size=1, max_size=3))
        return mine, {key: (item.descriptor, for_the_sdks(item.value)) for key, item in mine.items()}
    if kind is FieldDefinition.message_id:
        mine = draw(st.one_of(SIMPLE[ULong], SIMPLE[bytes], SIMPLE[str], st.uuids()))
        return mine, mine
    if kind == AMQPTypes.map:
        unsettled = draw(st.dictionaries(SIMPLE[bytes], _writable(), max_size=3))
        return unsettled, [(for_the_sdks(key), for_the_sdks(value)) for key, value in unsettled.items()]
    mine = draw(_OF_TYPE[kind])
    return mine, mine


@st.composite
def pairs(draw: st.DrawFn, kind: type) -> tuple[Any, Any]:
    """Give one of our described lists with its twin of the SDKs', equal field by field."""
    twin = TWINS[kind]
    drawn = [draw(_pairs_of_values(definition)) for definition in twin._definition if definition is not None]
    mine, sdks = [pair[0] for pair in drawn], [pair[1] for pair in drawn]
    if kind is ours.Transfer:
        sdks.append(b"")  # the SDKs keep the payload with the fields
    return kind(*mine), twin(*sdks)


def for_servicebus(twin: Any) -> Any:
    """Return what the Event Hubs SDK has as the class of the Service Bus SDK that is its copy."""
    if not hasattr(twin, "_definition"):
        return twin
    module = import_module(type(twin).__module__.replace("eventhub", "servicebus"))
    return getattr(module, type(twin).__name__)(*map(for_servicebus, twin))


def any_pair(kinds: dict[type, Any]) -> st.SearchStrategy[tuple[Any, Any]]:
    """Give a pair of one of some kinds."""
    return st.sampled_from(list(kinds)).flatmap(pairs)
