from fabench.analysis.frame import tidy
from fabench.analysis.headline import headline
from tests import synthetic

SIZES = [256 * 2**power for power in range(6)]


def test_the_story_of_a_run() -> None:
    found = headline(tidy(synthetic.records()))
    assert (found.quadratic, found.linear, found.same_function) == ("dot_product", "factorized_plain", False)
    assert found.crossover is not None and found.crossover.n is not None and 650 < found.crossover.n.value < 800
    assert found.speedup is not None and found.speedup.n == 4096 and 5 < found.speedup.ratio.value < 6.5
    assert found.memory_ratio is not None and round(found.memory_ratio.ratio.value) == 127
    assert found.only_linear_n == (8192, 16384) and [one.first for one in found.others] == ["sdpa"]
    assert [(one.implementation, one.quantity) for one in found.exponents] == [
        ("dot_product", "time"), ("factorized_plain", "time"), ("dot_product", "memory"), ("factorized_plain", "memory"),
    ]  # fmt: skip
    text = " ".join(found.sentences)
    assert found.sentences[0].startswith(
        "core · softmax · fp32 · fwd · b=1 · h=8 · d=64 · cpu: factorized_plain overtakes dot_product at n = "
    )
    assert "as fast as dot_product and takes 127x less memory" in found.sentences[1]
    assert "different functions" in found.sentences[1] and "dot-product softmax attention" in found.sentences[1]
    assert "dot_product n^1.98 [" in text and "also ran n = 8,192 and 16,384" in text and "out_of_memory" in text


def test_no_crossover_is_a_headline_too() -> None:
    slow = synthetic.curve("dot_product", {n: 1e-9 * n * n for n in SIZES})
    found = headline(tidy([*slow, *synthetic.curve("factorized_plain", {n: 1e-3 * n for n in SIZES})]))
    assert found.crossover is not None and found.crossover.status == "not_reached"
    assert "no crossover in range: dot_product is faster than factorized_plain at n = 256 to 8,192." in found.sentences[0]
    assert "dot_product is 122x as fast as factorized_plain" in found.sentences[1]
    assert found.only_linear_n == ()


def test_the_same_function_is_said_to_be_the_same() -> None:
    found = headline(tidy(synthetic.records(normalisations=["scaling"])))
    assert found.same_function and "both compute scaled product attention." in found.sentences[1]


def test_the_main_setting_has_most_shared_points() -> None:
    few = synthetic.records(["dot_product", "factorized_plain"], SIZES[:3], heads=[1])
    many = synthetic.records(["dot_product", "factorized_plain"], SIZES[:4], heads=[2])
    module = synthetic.records(["dot_product", "factorized_plain"], SIZES[:5], heads=[1], scopes=["module"])
    backward = synthetic.records(["dot_product", "factorized_plain"], SIZES[:5], heads=[1], modes=["bwd"])
    found = headline(tidy([*module, *backward, *few, *many]))
    assert found.setting == "core · softmax · fp32 · fwd · b=1 · h=2 · d=64 · cpu"


def test_the_dot_product_is_preferred_where_it_has_three_points() -> None:
    assert headline(tidy(synthetic.records(n=SIZES[:3]))).quadratic == "dot_product"
    assert headline(tidy(synthetic.records(n=SIZES[3:]))).quadratic == "sdpa"


def test_the_fastest_linear_one_speaks() -> None:
    slow, fast = (
        synthetic.curve(name, dict.fromkeys(SIZES, t)) for name, t in (("factorized_plain", 2.0), ("factorized_looped", 1.0))
    )
    found = headline(tidy([*synthetic.curve("dot_product", dict.fromkeys(SIZES, 9.0)), *slow, *fast]))
    assert found.linear == "factorized_looped"


def test_memory_may_go_the_other_way() -> None:
    frame = tidy(synthetic.records(["dot_product", "factorized_plain"], SIZES[:5]))
    frame["delta_bytes"] = [1000.0] * 5 + [3000.0] * 5
    assert "as fast as dot_product and dot_product takes 3.00x less memory than factorized_plain;" in headline(frame).sentences[1]
    frame["delta_bytes"] = 1000.0
    assert "and both take the same memory;" in headline(frame).sentences[1]
    frame["delta_bytes"] = float("nan")
    found = headline(frame)
    assert found.memory_ratio is None and "memory" not in " ".join(found.sentences)


def test_without_both_families_it_says_so() -> None:
    found = headline(tidy(synthetic.records(["factorized_plain"])))
    assert found.sentences == ("No setting has a time of both a quadratic and a linear implementation (7 of 7 cells ok).",)
    assert found.setting is None and found.crossover is None
    assert headline(tidy([])).sentences == ("Nothing was measured.",)


def test_several_crossings_are_said() -> None:
    linear = synthetic.curve("factorized_plain", dict.fromkeys(SIZES, 1.0))
    quadratic = synthetic.curve("dot_product", dict(zip(SIZES, (0.5, 2.0, 0.5, 0.6, 2.0, 4.0), strict=True)))
    assert "the last of 3 crossings" in headline(tidy([*linear, *quadratic])).sentences[0]
