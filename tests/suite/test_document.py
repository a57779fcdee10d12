"""Every mistake in a suite: one line that names file, key and mend."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fabench.errors import FabenchError, SuiteError, UsageError
from fabench.suite import Suite, parse

GOOD = 'implementation = "dot_product"\nn = 64\n'
AXES = f"[axes]\n{GOOD}"


def line(text: str, **overrides: str) -> str:
    with pytest.raises(SuiteError) as caught:
        parse(text.encode(), "my", {key.replace("__", "."): value for key, value in overrides.items()}).plan("cpu")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "my.toml: axes: has no n, image or video; add for example n = '1024..65536x2'"),
        ("[axes]\nn = 64", "my.toml: axes: has no implementation; add for example implementation = 'all'"),
        ("[[grid]]\nn = 64", "my.toml: grid[1]: has no implementation; add for example implementation = 'all'"),
        ("a = [", "my.toml: is no TOML: Invalid value (at end of document)"),
        ("axis = 3", "my.toml: axis: is not known; did you mean axes?"),
        ('"\\u001b[31m" = 3', "my.toml: \\x1b[31m: is not known; there are title, description, axes, grid, hold, skip, expect, measure, budget"),
        ("axes = 3", "my.toml: axes: is 3; write it as a table, [axes]"),
        ("grid = 3", "my.toml: grid: is 3; write each as a table, [[grid]]"),
        ("[grid]\nn = 3", "my.toml: grid: is a table; write each as a table, [[grid]]"),
        (AXES + "headz = 3", "my.toml: axes.headz: is not known; did you mean heads?"),
        (AXES + "[[grid]]\n[[grid]]\nhaeds = 3", "my.toml: grid[2].haeds: is not known; did you mean heads?"),
        (AXES + "[[grid]]\n[[grid]]\nheads = []", "my.toml: grid[2].heads: is empty; give at least one value"),
        (AXES + "heads = true", "my.toml: axes.heads: true is no whole number; write for example 1024, [1, 8] or '1024..65536x2'"),
        (AXES + "heads = 2020-01-01", "my.toml: axes.heads: a date is no whole number; write for example 1024, [1, 8] or '1024..65536x2'"),
        (AXES + 'heads = "8..1x2"', "my.toml: axes.heads: '8..1x2' starts above its stop; write the smaller number first"),
        (AXES + 'image = "8x8"', "my.toml: axes.image: says the same as axes.n; keep one of them"),
        (AXES + "batch = 2\n[hold]\ntokens = 64", "my.toml: hold.tokens: says the same as axes.batch; keep one of them"),
        (AXES + "dtype = 32", "my.toml: axes.dtype: 32 is no text; put it into quotes"),
        (AXES + 'dtype = "float23"', "my.toml: axes.dtype: 'float23' is not known; did you mean float32?"),
        (AXES + 'mode = "\\u0007"', "my.toml: axes.mode: '\\x07' is not known; there are fwd, bwd, fwd_bwd"),
        (AXES + 'device = "GPU"', "my.toml: axes.device: 'GPU' is no device; write for example auto, cpu or cuda:0"),
        (AXES + "reprojection = 1", "my.toml: axes.reprojection: must be true, false or [true, false]"),
        (AXES + "reprojection = true", "my.toml: axes.reprojection: belongs to scope module, which is not asked for; drop it, or set scope = 'module'"),
        (AXES + "[[grid]]\n[grid.hold]\ntoken = 3", "my.toml: grid[1].hold.token: is not known; did you mean tokens?"),
        (AXES + "[hold]\ntokens = 100", "my.toml: hold.tokens: 100 cannot be divided by n = 64; give values of n that divide it"),
        (AXES + "heads = 3\n[hold]\nd_k_total = 64", "my.toml: hold.d_k_total: 64 cannot be divided by heads = 3; give values of heads that divide it"),
        (AXES + 'm = 32\nscope = "module"', "my.toml: axes.m: a module attends to its own input, so m must equal n; change it, or give such cases a [[grid]] of their own"),
        (
            AXES + 'scope = "module"\nchannels = 32\nreprojection = false',
            "my.toml: axes.reprojection: a residual without reprojection needs channels = heads * d_v; "
            "change it, or give such cases a [[grid]] of their own",
        ),
        ('[axes]\nimplementation = "dot_product"\nn = "1..9000+1"\nd_k = "1..900+1"', "my.toml: axes: makes 8100000 cells, more than 100000; give its axes fewer values"),
        ('[axes]\nimplementation = "dot_product"\nimage = "999999999999x999999999999"', "my.toml: axes.image: has a layout of more than 2^40 positions; give smaller sides"),
        (AXES + "heads = 0x" + "f" * 9999, "my.toml: axes.heads: is a number of more than 64 bits; write a number below 2^63"),
        (AXES + "heads = nan", "my.toml: axes.heads: is nan; write a finite number"),
        (AXES + "heads = " + "9" * 9999, "my.toml: is no TOML: a number or a nesting is too large"),
        ("a.b.c.d.e.f.g.h.i.j = 3", "my.toml: a.b.c.d.e.f.g.h.i: is nested too deeply; see the example suites"),
        (AXES + "[measure]\nmax = 3", "my.toml: measure.max: is not known; did you mean max_s?"),
        (AXES + '[measure]\nmax_s = "3 parsec"', "my.toml: measure.max_s: '3 parsec' is no duration; write for example \"200 ms\" or \"2 s\""),
        (AXES + "[measure]\nmax_s = []", 'my.toml: measure.max_s: is an empty list; write a text with a unit, for example "200 ms" or "8 GiB"'),
        (AXES + "[measure]\ntarget = 2", "my.toml: measure.target: is 2.0, must lie between 0 and 1 (0.02 = 2 %)"),
        (AXES + "[measure]\nmin_samples = 2.5", "my.toml: measure.min_samples: is 2.5, not a whole number"),
        (AXES + '[measure]\ncache = "warm"', "my.toml: measure.cache: is 'warm', must be one of hot, cold"),
        (AXES + "[measure]\nseed = [1]", "my.toml: measure.seed: is a list; write a single value"),
        (AXES + "[budget]\ntime = 3", "my.toml: budget.time: is not known; there are memory, cell, total"),
        (AXES + '[budget]\nmemory = "8 GB/s"', "my.toml: budget.memory: '8 GB/s' is no size; write for example \"8 GiB\" or \"500 MB\""),
        (AXES + "[budget]\ncell = 0", "my.toml: budget.cell: is 0, so nothing could run; give more"),
        (AXES + "[budget]\ntotal = 1e300", "my.toml: budget.total: is more than 30 days; give less"),
        (AXES + '[[skip]]\nwhen = "n > 3"', "my.toml: skip[1].reason: is missing; a rule needs when and reason"),
        (AXES + '[[skip]]\nwhen = 3\nreason = "x"', 'my.toml: skip[1].when: is 3; write a filter in quotes, for example "n > 65536"'),
        (AXES + '[[skip]]\nwhen = "n > 3"\nreason = " "', "my.toml: skip[1].reason: is empty; say it in a sentence"),
        (AXES + '[[skip]]\nwhen = "n is 3"\nreason = "x"', "my.toml: skip[1].when: filter 'n is 3': compares with 'is'; write == or !="),
        (AXES + '[[expect]]\nstatus = "oom"\nreason = "x"', "my.toml: expect[1].status: 'oom' is not known; there are ok, incorrect, unsupported, skipped, out_of_memory, out_of_host_memory, out_of_resources, timed_out, crashed"),
        (AXES + '[[expect]]\nstaus = "ok"', "my.toml: expect[1].staus: is not known; did you mean status?"),
        ("title = 3\n" + AXES, "my.toml: title: is 3; write a text in quotes"),
    ],
)  # fmt: skip
def test_mistakes(text: str, expected: str) -> None:
    assert line(text) == expected


def test_unknown_implementation() -> None:
    assert line('[axes]\nn = 64\nimplementation = "dot_produkt"') == (
        "my.toml: axes.implementation: 'dot_produkt' is not known; did you mean dot_product?"
    )


def test_mistakes_in_overrides() -> None:
    assert line(AXES, heds="3") == "my.toml: override heds: is not known; did you mean heads?"
    assert line(AXES, heads="x") == (
        "my.toml: override heads: 'x' is no number or range; write for example 1024, '1024..65536x2' or '64..512+64'"
    )
    assert line(AXES, n="64", image="8x8") == "my.toml: override image: says the same as override n; keep one of them"
    assert line(AXES, measure__max="3") == "my.toml: measure.max: is not known; did you mean max_s?"
    assert line(AXES, measure__target="0.a") == "my.toml: override measure.target: is '0.a', not a finite number"
    assert line(AXES, budget__memory="lots") == (
        'my.toml: override budget.memory: \'lots\' is no size; write for example "8 GiB" or "500 MB"'
    )
    assert line(AXES, pool="2") == (
        "my.toml: override pool: belongs to scope module, which is not asked for; drop it, or set scope = 'module'"
    )


def test_mistakes_in_bytes() -> None:
    for text, problem in (
        (b"\xff", "is no UTF-8 (byte 0); save it as UTF-8"),
        (b" " * 2**19, "is larger than 262144 bytes; split it"),
    ):
        with pytest.raises(SuiteError) as caught:
            parse(text, "my")
        assert str(caught.value) == f"my.toml: {problem}"
    with pytest.raises(SuiteError) as caught:
        parse(b"a = " + b"[" * 5000, "my")
    assert str(caught.value).startswith("my.toml: is no TOML")


def test_a_filter_that_is_wrong_or_keeps_nothing() -> None:
    with pytest.raises(UsageError, match="filter 'n >': is no expression"):
        parse(AXES.encode(), "my", {}, "n >")
    with pytest.raises(SuiteError) as caught:
        parse(AXES.encode(), "my", {}, "n > 64").plan("cpu")
    assert str(caught.value) == "my.toml: the filter keeps none of its 1 cells; loosen it"


def fine(text: bytes, overrides: dict[str, str] | None = None, where: str | None = None) -> None:
    """A suite or an error of one printable line; nothing else."""
    try:
        suite = parse(text, "my", overrides, where)
        assert isinstance(suite, Suite) and suite.plan("cpu")
    except FabenchError as error:
        assert str(error).isprintable() and len(str(error)) < 800, str(error)


_KEYS = st.sampled_from(
    ["axes", "grid", "hold", "skip", "measure", "budget", "n", "image", "m", "heads", "d_k", "scope", "tokens", "when", "x"]
)
_KEYS |= st.sampled_from(
    ["implementation", "max_s", "seed", "memory", "cell", "reason", "status", "expect", "title", "reprojection", "threads"]
)
_VALUES = st.one_of(
    st.sampled_from(["64", '"64..4096x2"', '"8x8"', '"all"', '"module"', "true", "nan", "1e400", "0x" + "f" * 400, "9" * 5000, "1979-05-27"]),
    st.sampled_from(['"2 s"', '"8 GiB"', '"n > 3"', '"\\u0000\\u202e"', "-1", "[]", "[[1]]", "{a = 1}", "0.1", '"out_of_memory"', '"1..9000+1"']),
    st.integers().map(str), st.text(max_size=12).map(repr),
)  # fmt: skip
_LINES = st.one_of(
    st.builds("{} = {}".format, _KEYS, _VALUES), st.builds("[{}]".format, _KEYS), st.builds("[[{}]]".format, _KEYS),
    st.builds("[{}.{}]".format, _KEYS, _KEYS), st.just(GOOD), st.just(AXES), st.text(max_size=10),
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
@example(b"a" + b".a" * 5000 + b" = 1")
@example(b"a = " + b"[" * 3000 + b"]" * 3000)
@example(b"a = " + b"{b = " * 2000)
@example(b"\xef\xbb\xbf[axes]")
@example(b"a = 9999-99-99T99:99:99")
def test_any_bytes(text: bytes) -> None:
    fine(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(_LINES, max_size=8))
def test_any_toml_like_text(lines: list[str]) -> None:
    fine("\n".join(lines).encode("utf-8", "surrogatepass"))
    fine((AXES + "\n".join(lines)).encode("utf-8", "surrogatepass"))


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.one_of(_KEYS, _KEYS.map("measure.{}".format), _KEYS.map("budget.{}".format), st.text(max_size=5)),
        st.text(max_size=12),
        max_size=3,
    ),
    st.one_of(st.none(), st.text(max_size=12)),
)
def test_any_override_and_filter(overrides: dict[str, str], where: str | None) -> None:
    fine(AXES.encode(), overrides, where)
