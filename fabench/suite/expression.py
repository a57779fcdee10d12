"""Filters over cells: `n >= 4096 and heads in (1, 8) and implementation != "dot_product"`.

Written like Python and parsed by `ast`, but never evaluated by it: a whitelist of nodes is compiled into closures here. Kinds
(number, text, condition) are checked while parsing, so that only a division by zero or an overflow can fail on a cell.
A field that a cell does not have (channels at scope core) equals nothing and is neither larger nor smaller than anything.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fabench.errors import UsageError
from fabench.schema import Cell
from fabench.suite.fields import CONDITION, FIELDS, NUMBER, TEXT, vocabulary
from fabench.suite.words import known, quote

__all__ = ["Expression"]

_LONGEST = 1000
_DEEPEST = 40
_LARGEST = 2**63

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
}  # fmt: skip
_EQUALITY: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {ast.Eq: operator.eq, ast.NotEq: operator.ne}
_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip
_MEMBERSHIP: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b}


class _Term(NamedTuple):
    """A compiled part: its kind, its value for a cell, the field it is, and the texts it may be where those are literal."""

    kind: str
    value: Callable[[Cell], Any]
    field: str | None = None
    texts: tuple[str, ...] = ()
    many: bool = False


@dataclass(frozen=True)
class Expression:
    """A parsed filter."""

    text: str
    _condition: Callable[[Cell], Any]

    @staticmethod
    def parse(text: str) -> Expression:
        """The filter that `text` states. Raises UsageError with one line that says what is wrong."""
        try:
            term = _compile(_tree(text), 0)
            _need(term, CONDITION, "a filter is a condition, for example n >= 4096")
        except _Refused as refused:
            raise UsageError(f"filter {quote(text.strip())}: {refused}") from None
        return Expression(text, term.value)

    def matches(self, cell: Cell) -> bool:
        """Whether `cell` meets the condition. Raises UsageError where its numbers can't be computed."""
        try:
            return bool(self._condition(cell))
        except ArithmeticError:
            raise UsageError(f"filter {quote(self.text.strip())}: divides by zero or overflows at {cell.id}") from None


class _Refused(Exception):
    """Why a text is no filter."""


def _tree(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise _Refused(f"is longer than {_LONGEST} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError):
        raise _Refused('is no expression; write for example n >= 4096 and implementation != "dot_product"') from None
    except (RecursionError, MemoryError):
        raise _Refused("is nested too deeply") from None


def _compile(node: ast.expr, depth: int) -> _Term:
    if depth > _DEEPEST:
        raise _Refused("is nested too deeply")
    match node:
        case ast.BoolOp():
            return _bool(node, depth)
        case ast.UnaryOp(op=ast.Not()):
            inner = _need(_compile(node.operand, depth + 1), CONDITION, "'not' takes a condition").value
            return _Term(CONDITION, lambda cell: not inner(cell))
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign):
            number = _need(_compile(node.operand, depth + 1), NUMBER, "a sign belongs to a number").value
            factor = -1 if isinstance(sign, ast.USub) else 1
            return _Term(NUMBER, lambda cell: _with_none(operator.mul, factor, number(cell)))
        case ast.BinOp():
            return _arithmetic(node, depth)
        case ast.Compare():
            return _compare(node, depth)
        case ast.Tuple() | ast.List():
            return _list([_compile(item, depth + 1) for item in node.elts])
        case ast.Name():
            return _name(node.id)
        case ast.Constant():
            return _constant(node.value)
    raise _Refused(f"has a {type(node).__name__}; only comparisons, and, or, not, in, + - * // and names are allowed")


def _need(term: _Term, kind: str, why: str) -> _Term:
    if term.kind != kind or term.many:
        raise _Refused(f"{why}, not {'a list' if term.many else 'a ' + term.kind}; {_names()}")
    return term


def _names() -> str:
    return f"there are {', '.join(FIELDS)}"


def _with_none(operate: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
    return None if left is None or right is None else operate(left, right)


def _bool(node: ast.BoolOp, depth: int) -> _Term:
    word, combine = ("and", all) if isinstance(node.op, ast.And) else ("or", any)
    parts = [_need(_compile(value, depth + 1), CONDITION, f"'{word}' takes conditions").value for value in node.values]
    return _Term(CONDITION, lambda cell: combine(part(cell) for part in parts))


def _arithmetic(node: ast.BinOp, depth: int) -> _Term:
    operate = _ARITHMETIC.get(type(node.op))
    if operate is None:
        raise _Refused(f"has a {type(node.op).__name__}; of arithmetic only + - * // are allowed")
    left = _need(_compile(node.left, depth + 1), NUMBER, "arithmetic takes numbers").value
    right = _need(_compile(node.right, depth + 1), NUMBER, "arithmetic takes numbers").value
    return _Term(NUMBER, lambda cell: _with_none(operate, left(cell), right(cell)))


def _name(name: str) -> _Term:
    if name in ("true", "false"):
        return _constant(name == "true")
    if name not in FIELDS:
        raise _Refused(f"does not know {quote(name)}; {_names()}")
    field = FIELDS[name]
    return _Term(field.kind, field.read, name)


def _constant(value: object) -> _Term:
    if isinstance(value, bool):
        return _Term(CONDITION, lambda cell: value)
    if isinstance(value, str):
        return _Term(TEXT, lambda cell: value, texts=(value,))
    if isinstance(value, (int, float)):
        if not abs(value) < _LARGEST:
            raise _Refused("has a number that is too large")
        return _Term(NUMBER, lambda cell: value)
    raise _Refused("has a literal that is neither a number nor a text")


def _list(items: Sequence[_Term]) -> _Term:
    if not items or any(item.many for item in items):
        raise _Refused("a list holds numbers or texts, at least one")
    if len({item.kind for item in items}) > 1:
        raise _Refused("a list mixes numbers and texts")
    values = [item.value for item in items]
    texts = tuple(text for item in items for text in item.texts)
    return _Term(items[0].kind, lambda cell: [value(cell) for value in values], texts=texts, many=True)


def _compare(node: ast.Compare, depth: int) -> _Term:
    terms = [_compile(part, depth + 1) for part in (node.left, *node.comparators)]
    steps = [_step(left, kind, right) for left, kind, right in zip(terms, node.ops, terms[1:], strict=False)]
    return _Term(CONDITION, lambda cell: all(step(cell) for step in steps))


def _step(left: _Term, kind: ast.cmpop, right: _Term) -> Callable[[Cell], bool]:
    """One comparison of a chain."""
    member = _MEMBERSHIP.get(type(kind))
    compare = member or _EQUALITY.get(type(kind)) or _ORDER.get(type(kind))
    if compare is None:
        raise _Refused("compares with 'is'; write == or !=")
    if left.many or right.many != (member is not None):
        raise _Refused("'in' takes a list on its right and other comparisons none, for example heads in (1, 8)")
    if left.kind != right.kind:
        raise _Refused(f"compares {_described(left)} with {_described(right)}; {_names()}")
    if type(kind) in _ORDER:
        _need(left, NUMBER, "< and > compare numbers")
    _check_words(left, right)
    unknown = isinstance(kind, (ast.NotEq, ast.NotIn))

    def step(cell: Cell) -> bool:
        a, b = left.value(cell), right.value(cell)
        return unknown if a is None or b is None else compare(a, b)

    return step


def _described(term: _Term) -> str:
    return f"{term.field} (a {term.kind})" if term.field else f"a {term.kind}"


def _check_words(left: _Term, right: _Term) -> None:
    """A text that its field can never be is a slip of the pen, which would otherwise match nothing in silence."""
    for field, other in ((left.field, right), (right.field, left)):
        words = vocabulary(field) if field else None
        for text in other.texts if words else ():
            if words and text not in words:
                raise _Refused(f"{field} is never {quote(text)}; {known(text, words)}")
