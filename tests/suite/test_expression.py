"""Filters: what they mean, what they refuse, and that nothing else can come out of any text."""

import warnings

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fabench.errors import UsageError
from fabench.schema import Case, Cell
from fabench.suite import Expression

CORE = Cell("dot_product", "cpu", Case(n=4096, m=4096, batch=2, heads=8, d_k=32, d_v=64))
MODULE = Cell(
    "factorized",
    "cuda:0",
    Case(
        n=64,
        m=64,
        scope="module",
        space="8x8",
        channels=64,
        reprojection=True,
        residual=False,
        pool=2,
        dtype="bfloat16",
        mode="fwd_bwd",
    ),
)
NAMES = (
    "there are implementation, device, family, function, n, m, batch, heads, d_k, d_v, channels, pool, tokens, d_k_total, d_v_total, "
    "dtype, mode, normalisation, scale, mask, scope, space, network, positions, backbone, image, modules, reprojection, residual"
)


@pytest.mark.parametrize(
    ("text", "core", "module"),
    [
        ("n >= 4096", True, False),
        ("n >= 4096 and heads in (1, 8)", True, False),
        ("implementation != 'dot_product'", False, True),
        ('not (dtype == "bfloat16")', True, False),
        ("64 <= n < 4096", False, True),
        ("heads not in [1, 2]", True, False),
        ("family == 'quadratic' or device == 'cuda:0'", True, True),
        ("function == 'dot-product softmax attention'", True, False),
        ("tokens == batch * n and d_k_total == heads * d_k and d_v_total == heads*d_v", True, True),
        ("n // 1000 == 4", True, False),
        ("-n + 8192 - 1 > 4000.5", True, True),
        ("channels == 64", False, True),
        ("channels != 64", True, False),
        ("channels + 1 > 0", False, True),
        ("pool not in (1, 3)", True, True),
        ("reprojection", False, True),
        ("reprojection == true", False, True),
        ("not residual", True, True),
        ("space in ('8x8', '16x16')", False, True),
        ("True", True, True),
        ("(n > 64) == (heads > 1)", True, True),
        ("scope == 'module' and mode == 'fwd_bwd' and scale == '1/sqrt(d_k)'", False, True),
    ],
)
def test_meaning(text: str, core: bool, module: bool) -> None:
    expression = Expression.parse(text)
    assert (expression.matches(CORE), expression.matches(MODULE)) == (core, module)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("size > 3", f"filter 'size > 3': does not know 'size'; {NAMES}"),
        ("n > 'a'", f"filter \"n > 'a'\": compares n (a number) with a text; {NAMES}"),
        ("n in ('a', 'b')", f"filter \"n in ('a', 'b')\": compares n (a number) with a text; {NAMES}"),
        ("dtype < 'x'", f"filter \"dtype < 'x'\": < and > compare numbers, not a text; {NAMES}"),
        ("n", f"filter 'n': a filter is a condition, for example n >= 4096, not a number; {NAMES}"),
        ("n and heads == 1", f"filter 'n and heads == 1': 'and' takes conditions, not a number; {NAMES}"),
        ("n + dtype == 3", f"filter 'n + dtype == 3': arithmetic takes numbers, not a text; {NAMES}"),
        ("not n", f"filter 'not n': 'not' takes a condition, not a number; {NAMES}"),
        ("n in 3", "filter 'n in 3': 'in' takes a list on its right and other comparisons none, for example heads in (1, 8)"),
        (
            "n == (1, 2)",
            "filter 'n == (1, 2)': 'in' takes a list on its right and other comparisons none, for example heads in (1, 8)",
        ),
        ("n in (1, 'a')", "filter \"n in (1, 'a')\": a list mixes numbers and texts"),
        ("n in ()", "filter 'n in ()': a list holds numbers or texts, at least one"),
        ("n is 3", "filter 'n is 3': compares with 'is'; write == or !="),
        ("n ** 2 > 3", "filter 'n ** 2 > 3': has a Pow; of arithmetic only + - * // are allowed"),
        (
            "n.real > 3",
            "filter 'n.real > 3': has a Attribute; only comparisons, and, or, not, in, + - * // and names are allowed",
        ),
        (
            "len(dtype) > 3",
            "filter 'len(dtype) > 3': has a Call; only comparisons, and, or, not, in, + - * // and names are allowed",
        ),
        ("n > 1j", "filter 'n > 1j': has a literal that is neither a number nor a text"),
        ("n > 1e999", "filter 'n > 1e999': has a number that is too large"),
        ("dtype == 'bf16'", "filter \"dtype == 'bf16'\": dtype is never 'bf16'; did you mean bfloat16?"),
        ("'forward' == mode", "filter \"'forward' == mode\": mode is never 'forward'; did you mean fwd?"),
        ("family in ('quadratik',)", "filter \"family in ('quadratik',)\": family is never 'quadratik'; did you mean quadratic?"),
        ("n >", "filter 'n >': is no expression; write for example n >= 4096 and implementation != \"dot_product\""),
        ("n > 1\x00", "filter 'n > 1\\x00': is no expression; write for example n >= 4096 and implementation != \"dot_product\""),
        ("", "filter '': is no expression; write for example n >= 4096 and implementation != \"dot_product\""),
        ("-" * 300 + "1 > 0", f"filter '{'-' * 37}'...: is nested too deeply"),
        ("n > 0 " * 200, f"filter '{('n > 0 ' * 9)[:37]}'...: is longer than 1000 characters"),
    ],
)
def test_refusals(text: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        Expression.parse(text)
    assert str(caught.value) == line


def test_division_by_zero_is_told_at_the_cell() -> None:
    expression = Expression.parse("n // (pool - 2) > 3")
    assert not expression.matches(CORE)
    with pytest.raises(UsageError) as caught:
        expression.matches(MODULE)
    assert str(caught.value) == f"filter 'n // (pool - 2) > 3': divides by zero or overflows at {MODULE.id}"


def test_unknown_implementation_has_no_family() -> None:
    old = Cell("gone", "cpu", CORE.case)
    assert not Expression.parse("family == 'linear' or function == 'factorized softmax attention'").matches(old)


_WORDS = [
    "n",
    "heads",
    "dtype",
    "reprojection",
    "channels",
    "and",
    "or",
    "not",
    "in",
    "is",
    "(",
    ")",
    "[",
    "]",
    ",",
    "==",
    "!=",
    "<",
]
_WORDS += [
    ">=",
    "+",
    "-",
    "*",
    "//",
    "**",
    "'fwd'",
    "'a'",
    "1",
    "2.5",
    "1e308",
    "9" * 30,
    "0",
    "true",
    "lambda",
    ":",
    "f'{n}'",
    "if",
    "\\d",
    "'\\d'",
]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(_WORDS), max_size=14).map(" ".join)))
@example("(" * 400)
@example("[" * 150 + "]" * 150)
@example("not " * 240 + "true")
@example("1" + "+1" * 490 + ">0")
@example("n" + "*n" * 30 + " * 1e308 > 0")
@example("'\\d' == dtype or 1in (1,)")
@example("\ud800 == 1")
def test_any_text_is_a_filter_or_a_line(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            expression = Expression.parse(text)
            assert isinstance(expression.matches(CORE), bool)
            assert isinstance(expression.matches(MODULE), bool)
        except UsageError as error:
            assert str(error).isprintable() and len(str(error)) < 500
