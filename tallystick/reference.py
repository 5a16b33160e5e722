"""The protocol's reference, made from the types that the exchange reads and writes: `make docs-reference`.

Nothing is said twice. What the code knows (names, types, defaults, ranges, permissions, weights, which method is
refused with what) is written into the tables of docs/protocol.md here; what it means is written there by hand, in each
row's last cell, and stays when the table is made anew. A table to be made stands below a mark, an HTML comment that
nobody sees: `<!-- params: order.place -->`, `<!-- fields: Order -->`, `<!-- methods -->`, `<!-- refusals -->`.

The same types make docs/protocol.schema.json, for programs.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec
from msgspec import Meta, Raw, Struct, UnsetType
from msgspec.structs import FieldInfo, fields

from actors import results, stream_events, wire
from actors.intake import NEEDED_PERMISSION
from actors.parameters import CancelParams, PlaceParams
from book import codes
from book.terms import PERMISSIONS
from tallystick.client import events as client_events
from tallystick.client import results as client_results

PAGE: Final = "protocol.md"
SCHEMA: Final = "protocol.schema.json"
DOCS: Final = Path("docs")

Row = tuple[str, ...]

# ------------------------------------------------------------------------------------------------------ what there is


def _tag(kind: type[Struct]) -> str:
    """The method of a request, the name of an event."""
    return str(kind.__struct_config__.tag)


METHODS: Final[dict[str, type[Any]]] = {_tag(kind): kind for kind in get_args(wire.Request)}
EVENTS: Final[dict[str, type[Struct]]] = {_tag(kind): kind for kind in (wire.Hello, *get_args(stream_events.AnyEvent))}

# What `result` of a reply is.
RESULTS: Final[dict[str, type[Struct]]] = {
    "ping": results.Nothing,
    "time": results.ServerTime,
    "exchangeInfo": results.Exchange,
    "session.logon": results.LoggedOn,
    "session.status": results.LoggedOn,
    "session.logout": results.Nothing,
    "order.place": results.Placed,
    "order.cancel": results.Order,
    "order.amend": results.Order,
    "order.cancelReplace": results.Replaced,
    "order.test": results.Nothing,
    "order.batch": wire.Several,
    "order.status": results.Order,
    "openOrders.status": results.Orders,
    "openOrders.cancelAll": results.CanceledAll,
    "order.cancelAllAfter": results.CancelAllAfterSet,
    "myTrades": results.AccountTrades,
    "allOrders": results.Orders,
    "account.status": results.Account,
    "account.commission": results.Commission,
    "depth": results.Levels,
    "trades.recent": results.Trades,
    "ticker.24hr": results.DayTicker,
    "klines": results.Klines,
    "subscribe": results.Subscriptions,
    "unsubscribe": results.Subscriptions,
    "resume": results.Subscriptions,
    "deposit.address": results.DepositAddress,
    "deposit.history": results.Deposits,
    "withdraw.apply": results.WithdrawalInfo,
    "withdraw.cancel": results.WithdrawalInfo,
    "withdraw.status": results.WithdrawalInfo,
    "withdraw.history": results.Withdrawals,
}

# What any request may be refused with.
ALWAYS: Final = (
    codes.UNKNOWN,
    codes.TOO_MANY_REQUESTS,
    codes.TIMEOUT,
    codes.SERVER_BUSY,
    codes.SERVICE_SHUTTING_DOWN,
    codes.UNKNOWN_PARAM,
    codes.INVALID_PARAMETER,
    codes.INVALID_JSON,
)

_ORDER: Final = (codes.FILTER_FAILURE, codes.ORDER_REJECTED)
# What the engine, or the logon, refuses a method with; the rest follows from its parameters and its permission.
_JUDGED: Final[dict[str, tuple[int, ...]]] = {
    "session.logon": (codes.UNAUTHORIZED, codes.INVALID_SIGNATURE, codes.REJECTED_KEY),
    "session.status": (codes.UNAUTHORIZED,),
    "session.logout": (codes.UNAUTHORIZED,),
    "order.place": _ORDER,
    "order.test": _ORDER,
    "order.cancelReplace": (*_ORDER, codes.CANCEL_REJECTED),
    "order.amend": (*_ORDER, codes.CANCEL_REJECTED),
    "order.cancel": (codes.CANCEL_REJECTED,),
    "order.status": (codes.NO_SUCH_ORDER,),
    "subscribe": (codes.UNAUTHORIZED, codes.REJECTED_KEY, codes.TOO_MANY_SUBSCRIPTIONS),
    "resume": (codes.UNAUTHORIZED, codes.REJECTED_KEY, codes.TOO_MANY_SUBSCRIPTIONS, codes.GAP_TOO_OLD),
    "withdraw.apply": (codes.BAD_PRECISION, codes.WITHDRAWAL_REJECTED, codes.BAD_ADDRESS),
    "withdraw.cancel": (codes.WITHDRAWAL_REJECTED,),
    "withdraw.status": (codes.WITHDRAWAL_REJECTED,),
}
_BY_PARAMETER: Final[dict[str, int]] = {
    "symbol": codes.BAD_SYMBOL,
    "side": codes.BAD_SIDE,
    "type": codes.BAD_TYPE,
    "timeInForce": codes.BAD_TIF,
    "quantity": codes.BAD_PRECISION,
    "newQty": codes.BAD_PRECISION,
    "timestamp": codes.INVALID_TIMESTAMP,
    "channel": codes.BAD_SYMBOL,
    "channels": codes.BAD_SYMBOL,
}
# Of the ids of an order one is required, though each is optional.
_REQUIRED: Final = {"orderId", "cancelOrderId", "signature"}


def params_of(method: str) -> tuple[FieldInfo, ...]:
    """The parameters of a method."""
    (params,) = [field.type for field in fields(METHODS[method]) if field.name == "params"]
    return fields(params)


def permission_of(method: str) -> str:
    """What a key needs for it; `none` where nobody need be logged on."""
    return PERMISSIONS.get(NEEDED_PERMISSION.get(METHODS[method], 0), "none")


def refused_with(method: str) -> list[int]:
    """What this method may be refused with, beyond what any may be, the codes from the largest down."""
    params = params_of(method)
    names = {field.encode_name for field in params}
    found = {code for name, code in _BY_PARAMETER.items() if name in names}
    found.update(_JUDGED.get(method, ()))
    if METHODS[method] in NEEDED_PERMISSION:
        found |= {codes.UNAUTHORIZED, codes.REJECTED_KEY}
    if names & _REQUIRED or any(field.required for field in params):
        found.add(codes.MANDATORY_PARAM)
    return sorted(found, reverse=True)


# ------------------------------------------------------------------------------------------------------ words for types

_NAMES: Final = {bool: "boolean", int: "integer", str: "string"}


def type_name(annotation: Any) -> str:
    """As the page calls a type."""
    if get_origin(annotation) is Annotated:
        return type_name(get_args(annotation)[0])
    if get_origin(annotation) is list:
        return f"list of {_items_name(get_args(annotation)[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Struct | Raw):
        return "object"
    kinds = get_args(annotation) or (annotation,)
    if get_origin(annotation) is Literal:
        kinds = tuple({type(value) for value in kinds})
    (name,) = {type_name(kind) if kind not in _NAMES else _NAMES[kind] for kind in kinds if kind is not UnsetType}
    return name


def _items_name(item: Any) -> str:
    if get_origin(item) is Annotated:
        return _items_name(get_args(item)[0])
    if get_origin(item) is tuple:
        return f"[{', '.join(type_name(part) for part in get_args(item))}]"
    (name,) = {type_name(kind) for kind in get_args(item) or (item,)}
    return f"{name}s"


def param_row(field: FieldInfo) -> Row:
    """What the code knows of a parameter: name, type, default, what it must be."""
    default = "required" if field.required else json.dumps(field.default) if field.default else "optional"
    if field.default is False:
        default = "false"
    (meta,) = [part for part in get_args(field.type) if isinstance(part, Meta)]
    return (field.encode_name, type_name(field.type), default, str(meta.description))


def field_row(field: FieldInfo) -> Row:
    """What the code knows of a field that goes out: name and type."""
    return (field.encode_name, type_name(field.type))


# ------------------------------------------------------------------------------------------------------------- the page

STRUCTS: Final[dict[str, type[Struct]]] = {
    kind.__name__: kind
    for kind in [*vars(results).values(), wire.Several, wire.Error, *EVENTS.values()]
    if isinstance(kind, type) and issubclass(kind, Struct) and fields(kind)
}
"""All that goes out and has fields, by the name that marks its table."""

_MARKED: Final = re.compile(r"<!-- (params|fields|methods|refusals)(?:: ([\w.]+))? -->\n\n((?:\|.*\n)*)")


def marks(text: str) -> list[tuple[str, str]]:
    """The kind and the name of every mark of a page."""
    return [(found[1], found[2] or "") for found in _MARKED.finditer(text)]


def expected_marks() -> list[tuple[str, str]]:
    """Those that the protocol's page must have."""
    return sorted(
        [
            ("methods", ""),
            ("refusals", ""),
            *(("params", method) for method in METHODS if params_of(method)),
            *(("fields", name) for name in STRUCTS),
        ]
    )


def page(text: str) -> str:
    """The page with its marked tables as the code has them. Raises KeyError for a mark of something that is not."""
    return _MARKED.sub(lambda found: _made(found[1], found[2] or "", found[3]), text)


def _made(kind: str, name: str, old: str) -> str:
    mark = f"<!-- {kind}: {name} -->" if name else f"<!-- {kind} -->"
    return f"{mark}\n\n" + "".join(f"{line}\n" for line in _TABLES[kind](name, _meanings(old)))


def _meanings(table: str) -> dict[str, str]:
    """The last cell of every row, by the first one as it is written."""
    rows = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
    return {row[0]: row[-1] for row in rows}


def _params_table(method: str, meanings: Mapping[str, str]) -> Iterator[str]:
    yield from _head("parameter", "type", "default", "must be", "meaning")
    for name, *cells in map(param_row, params_of(method)):
        yield _line(f"`{name}`", *cells, meanings.get(f"`{name}`", ""))


def _fields_table(name: str, meanings: Mapping[str, str]) -> Iterator[str]:
    yield from _head("field", "type", "meaning")
    for field, *cells in map(field_row, fields(STRUCTS[name])):
        yield _line(f"`{field}`", *cells, meanings.get(f"`{field}`", ""))


def _methods_table(_name: str, meanings: Mapping[str, str]) -> Iterator[str]:
    yield from _head("method", "permission", "weight", "")
    for method, kind in METHODS.items():
        link = f"[`{method}`](#{method.replace('.', '').lower()})"
        yield _line(link, permission_of(method), f"{kind.weight:,}", meanings.get(link, ""))


def _refusals_table(_name: str, _meanings: Mapping[str, str]) -> Iterator[str]:
    yield from _head("method", "may be refused with")
    for method in METHODS:
        yield _line(f"`{method}`", ", ".join(map(str, refused_with(method))))


_TABLES: Final[dict[str, Callable[[str, Mapping[str, str]], Iterator[str]]]] = {
    "params": _params_table,
    "fields": _fields_table,
    "methods": _methods_table,
    "refusals": _refusals_table,
}


def _head(*titles: str) -> Iterator[str]:
    yield _line(*titles)
    yield "|" + "---|" * len(titles)


def _line(*cells: str) -> str:
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"


# ----------------------------------------------------------------------------------------------------------- the schema

_REF: Final = "#/$defs/{name}"
_DECIMAL_OUT: Final = {"pattern": r"^-?[0-9]+(\.[0-9]+)?$"}


def schema() -> dict[str, Any]:
    """The JSON Schema of every line, with a list of the methods beside it."""
    # `Several` holds replies in replies, which no decoder can tell apart.
    kinds = [
        *METHODS.values(),
        *(kind for kind in RESULTS.values() if kind is not wire.Several),
        *EVENTS.values(),
        *(wire.Refusal, PlaceParams, CancelParams),
    ]
    refs, definitions = msgspec.json.schema_components(kinds, ref_template=_REF)
    ref = dict(zip(kinds, refs, strict=True))
    _forget_absent(definitions)
    _say_decimals(definitions)
    definitions["BatchParams"]["properties"]["orders"]["items"] = {"anyOf": [ref[PlaceParams], ref[CancelParams]]}
    outcomes = [{"$ref": _REF.format(name=f"{method} reply")} for method in ("order.place", "order.cancel")]
    definitions["Several"] = _several([*outcomes, ref[wire.Refusal]])
    ref[wire.Several] = {"$ref": _REF.format(name="Several")}
    for method in METHODS:
        definitions[f"{method} reply"] = _reply(method, ref[RESULTS[method]])
    methods = {
        method: {
            "description": kind.__doc__,
            "permission": permission_of(method),
            "weight": kind.weight,
            "request": ref[kind],
            "reply": {"$ref": _REF.format(name=f"{method} reply")},
            "result": ref[RESULTS[method]],
            "errors": [codes.CODE_NAMES[code] for code in sorted({*ALWAYS, *refused_with(method)}, reverse=True)],
        }
        for method, kind in METHODS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"The wire protocol of Tallystick, version {wire.VERSION}",
        "description": "Every line is a request, a reply, a refusal or an event. Made from the exchange's own types by "
        "`make docs-reference`. What goes out may have more fields in a later version; what comes in may not.",
        "anyOf": [
            *(entry["request"] for entry in methods.values()),
            *(entry["reply"] for entry in methods.values()),
            ref[wire.Refusal],
            *(ref[kind] for kind in EVENTS.values()),
        ],
        "methods": methods,
        "events": {name: ref[kind] for name, kind in EVENTS.items()},
        "errors": {
            name: {"code": code, "status": wire.STATUS.get(code, 400)}
            for code, name in sorted(codes.CODE_NAMES.items(), reverse=True)
            if code != codes.DEFINITION_REJECTED
        },
        "$defs": dict(sorted(definitions.items())),
    }


def _reply(method: str, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": f"Reply to {method}",
        "type": "object",
        "properties": {"id": {"type": ["integer", "string"]}, "status": {"const": 200}, "result": result},
        "required": ["status", "result"],
    }


def _several(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "title": "Several",
        "description": wire.Several.__doc__,
        "type": "object",
        "properties": {"results": {"type": "array", "items": {"anyOf": outcomes}}},
        "required": ["results"],
    }


def _forget_absent(definitions: dict[str, Any]) -> None:
    """Say of what may be left out just that: not by a default that no client can give, and not as required."""
    for definition in definitions.values():
        for entry in definition.get("properties", {}).values():
            if entry.get("default") in ("", {}) or (entry.get("default") == 0 and entry["default"] is not False):
                del entry["default"]
    for definition, kind in _defined(definitions, [*STRUCTS.values(), wire.Refusal]):
        optional = {field.encode_name for field in fields(kind) if UnsetType in get_args(field.type)}
        definition["required"] = [name for name in definition["required"] if name not in optional]


def _say_decimals(definitions: dict[str, Any]) -> None:
    """A string is a number where the client library takes it for one."""
    kinds = [*vars(client_results).values(), *vars(client_events).values()]
    ours = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Struct)]
    for definition, kind in _defined(definitions, ours):
        for field in fields(kind):
            entry = definition["properties"].get(field.encode_name, {})
            if Decimal in (field.type, *get_args(field.type)) and entry.get("type") == "string":
                entry.update(_DECIMAL_OUT)


def _defined(definitions: dict[str, Any], kinds: list[type[Struct]]) -> Iterator[tuple[dict[str, Any], type[Struct]]]:
    """What is defined of these, by their names. A name that two modules use is defined with the module's."""
    for kind in kinds:
        for name in (kind.__name__, f"actors.results.{kind.__name__}"):
            if name in definitions and "required" in definitions[name]:
                yield definitions[name], kind


# --------------------------------------------------------------------------------------------------------- the command


def files(docs: Path) -> dict[Path, str]:
    """What each file ought to hold, by its path."""
    return {
        docs / PAGE: page((docs / PAGE).read_text(encoding="utf-8")),
        docs / SCHEMA: json.dumps(schema(), indent=1, ensure_ascii=False) + "\n",
    }


def main() -> None:
    """Bring the files up to date, and say which that were."""
    for path, content in files(DOCS).items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
            sys.stdout.write(f"{path} is up to date now\n")


if __name__ == "__main__":
    main()
