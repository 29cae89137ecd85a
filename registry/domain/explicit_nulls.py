"""Values as answers show them: each field is there, and null says that nothing was stated.

In the log what was not said is left out, so that equal statements have equal bytes. Who reads an answer looks for every
field of an amount, a title or a source instead. Here each type gets a twin that leaves nothing out: the contract
describes it, and answers are written from it. An event's own words are never filled up: in a revision, to leave a field
out and to unsay it are two things. Nothing here touches what is stored or hashed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, Struct, UnsetType
from msgspec.structs import astuple, fields

from registry.events.types import Event, EventPart

Fill = Callable[[Any], Any]

_fills: dict[type, Fill | None] = {}


def with_explicit_nulls(value: Any) -> Any:
    """The value with every field that could have been stated; what has none left out is given back as it is."""
    kind = type(value)
    try:
        fill = _fills[kind]
    except KeyError:
        fill = _fills[kind] = _fill(kind)
    return value if fill is None else fill(value)


def _fill(kind: type) -> Fill | None:
    if kind is tuple:
        return lambda values: tuple(map(with_explicit_nulls, values)) if values else values
    if kind is list:
        return lambda values: list(map(with_explicit_nulls, values))
    if kind is dict:
        return lambda values: {name: with_explicit_nulls(value) for name, value in values.items()}
    if not issubclass(kind, Struct) or issubclass(kind, Event):
        return None
    lacks = issubclass(kind, EventPart)
    deep = tuple((i, field.name) for i, field in enumerate(fields(kind)) if _may_lack(field.type, frozenset({kind})))
    if not deep and not lacks:
        return None
    twin = _required_struct(kind)

    def fill(value: Struct) -> Struct:
        said = list(astuple(value)) if lacks else None
        for i, name in deep:
            was = getattr(value, name)
            now = with_explicit_nulls(was) if was else was
            if now is not was:
                said = said or list(astuple(value))
                said[i] = now
        return value if said is None else twin(*said)

    return fill


def _may_lack(hint: Any, above: frozenset[type] = frozenset(), *, untyped: bool = True) -> bool:
    """Whether a value of this type may be, or hold, one of which something was left out."""
    if isinstance(hint, type) and issubclass(hint, Struct):
        if issubclass(hint, EventPart):
            return not issubclass(hint, Event)
        inside = {*above, hint}
        return hint not in above and any(
            _may_lack(field.type, frozenset(inside), untyped=untyped) for field in fields(hint)
        )
    return (untyped and hint is Any) or any(_may_lack(part, above, untyped=untyped) for part in get_args(hint))


def all_required_type(hint: Any) -> Any:
    """The type of `whole` of a value of this type, for the contract."""
    if not _may_lack(hint, untyped=False):
        return hint
    if isinstance(hint, type):
        return _required_struct(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return Annotated[all_required_type(arguments[0]), *arguments[1:]]
    made = tuple(map(all_required_type, arguments))
    return Union[made] if origin in (Union, UnionType) else origin[made]  # noqa: UP007


@cache
def _required_struct(kind: type[Struct]) -> type[Struct]:
    """The type with every field required; that of a thing that is also posted gets a name of its own."""
    absent = {field.name: UNSET if UnsetType in get_args(field.type) else NODEFAULT for field in fields(kind)}
    return msgspec.defstruct(
        f"Shown{kind.__name__}" if issubclass(kind, EventPart) else kind.__name__,
        [(field.name, all_required_type(field.type), absent[field.name]) for field in fields(kind)],
        frozen=True,
        gc=False,
        kw_only=UNSET in absent.values(),
        rename={field.name: field.encode_name for field in fields(kind)},
        tag_field=kind.__struct_config__.tag_field,
        tag=kind.__struct_config__.tag,
        forbid_unknown_fields=kind.__struct_config__.forbid_unknown_fields,
        namespace={"__doc__": kind.__doc__},
        module=kind.__module__,
    )
