"""Positions and their costs against the paper's table, typed in here as numbers, line by line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabench import cost, position_cost, positions
from fabench.errors import UsageError
from fabench.positions import POSITIONS, Attention

# 896 x 1280 pixels, d_k = 64, d_v = C, one head, float32, no reprojection counted: h, w, C; map, DP and FA bytes; DP and FA true MACs;
# all as the table prints them. Then the parameters of the module with biases and reprojection.
PAPER = {
    "res3": (56, 80, 1024, "80.3 M", "137.6 M", "57.6 M", "27.12 G", "5.872 G", 2_230_400),
    "res4": (28, 40, 2048, "5.0 M", "33.1 M", "28.6 M", "7.641 G", "5.285 G", 8_654_976),
    "fpn1": (224, 320, 256, "20.55 G", "20.81 G", "257.0 M", "1651 G", "9.395 G", 164_480),
    "fpn2": (112, 160, 256, "1.285 G", "1.349 G", "64.3 M", "104.5 G", "2.349 G", 164_480),
    "fpn3": (56, 80, 256, "80.3 M", "96.3 M", "16.1 M", "6.863 G", "0.587 G", 164_480),
    "fpn4": (28, 40, 256, "5.0 M", "9.0 M", "4.1 M", "0.512 G", "0.147 G", 164_480),
    "fpn5": (14, 20, 256, "0.3 M", "1.3 M", "1.1 M", "0.0526 G", "0.0367 G", 164_480),
}


def printed(value: int, like: str) -> str:
    """`value` with the unit and the decimals of `like`."""
    number, unit = like.split()
    decimals = len(number.partition(".")[2])
    return f"{value / {'M': 1e6, 'G': 1e9}[unit]:.{decimals}f} {unit}"


@pytest.mark.parametrize("name", PAPER)
def test_each_position_is_the_papers(name: str) -> None:
    h, w, channels, *figures, parameters = PAPER[name]
    (line,) = position_cost.table("detection", name, Attention(), 896, 1280)
    assert (line.space, line.position.channels, line.n, line.parameters) == ((h, w), channels, h * w, parameters)
    found = (line.map_bytes, line.dot_product_bytes, line.factorized_bytes, line.dot_product_mac, line.factorized_mac)
    assert [printed(value, like) for value, like in zip(found, figures, strict=True)] == figures
    assert line.map_bytes == 4 * line.n**2
    assert line.dot_product_bytes == 4 * cost.paper_floats(line.n, 64, channels, 2)
    assert line.factorized_bytes == 4 * cost.paper_floats(line.n, 64, channels, 1)


def test_all_seven_together() -> None:
    lines = position_cost.table("detection", "all", Attention(), 896, 1280)
    assert [line.position.name for line in lines] == list(PAPER)
    assert sum(line.parameters for line in lines) == 11_707_776
    assert printed(sum(line.dot_product_bytes for line in lines), "22.44 G") == "22.44 G"
    assert printed(sum(line.factorized_bytes for line in lines), "0.429 G") == "0.429 G"
    assert printed(sum(line.dot_product_mac for line in lines), "1798 G") == "1798 G"
    assert printed(sum(line.factorized_mac for line in lines), "23.67 G") == "23.67 G"


def test_the_maps_of_other_input_sizes() -> None:
    figures = ["18.06 G", "1.13 G", "71 M", "4.4 M"]
    lines = position_cost.table("detection", "fpn1,fpn2,fpn3,fpn4", Attention(), 800, 1344)
    assert [printed(line.map_bytes, like) for line, like in zip(lines, figures, strict=True)] == figures
    (first,) = position_cost.table("detection", "fpn1", Attention(), 480, 640)
    assert first.n == 19_200


@pytest.mark.parametrize(
    ("name", "size", "space", "figures"),
    [
        ("layer4", (256, 512), (64, 128), ["268 M", "16.8 M", "13.15 G", "0.403 G"]),
        ("layer4", (544, 960), (136, 240), ["4.26 G", "66.9 M", "205.6 G", "1.60 G"]),
        ("volume", (256, 512), (48, 64, 128), ["618 G"]),
    ],
)
def test_stereo_is_the_papers(name: str, size: tuple[int, int], space: tuple[int, ...], figures: list[str]) -> None:
    (line,) = position_cost.table("stereo", name, Attention(), *size)
    found = (line.map_bytes, line.factorized_bytes, line.dot_product_mac, line.factorized_mac)
    assert line.space == space
    assert [printed(value, like) for value, like in zip(found, figures, strict=False)] == figures
    assert line.parameters == {"layer4": 49_536, "volume": 6_336}[name]


def test_the_reprojection_adds_its_own() -> None:
    without, with_ = (
        position_cost.at(POSITIONS["stereo"][0], Attention(), 256, 512, reprojection=flag) for flag in (False, True)
    )
    assert with_.factorized_mac - without.factorized_mac == 8_192 * 128 * 128
    assert with_.factorized_bytes == without.factorized_bytes  # v1's count has the output of the attention either way


@given(
    position=st.sampled_from([position for network in POSITIONS.values() for position in network]),
    height=st.integers(32, 2000), width=st.integers(32, 2000), heads=st.sampled_from([1, 2, 4, 8]), pool=st.sampled_from([1, 2]),
    batch=st.integers(1, 8),
)  # fmt: skip
def test_heads_pooling_and_batch(
    position: positions.Position, height: int, width: int, heads: int, pool: int, batch: int
) -> None:
    line = position_cost.at(position, Attention(heads=heads, pool=pool), height, width, batch=batch)
    *outer, h, w = line.space
    keys = (h // pool) * (w // pool) * (outer[0] if outer else 1)
    n, channels = line.n, position.channels
    projections = n * channels * (128 + channels)
    assert line.map_bytes == 4 * batch * heads * n * keys
    assert line.dot_product_mac == batch * (n * keys * (64 + channels) + projections)
    assert line.factorized_mac == batch * ((n + keys) * 64 * channels // heads + projections)


def test_words_for_positions() -> None:
    def names(words: str | list[str]) -> list[str]:
        return [position.name for position in positions.parse("detection", words)]

    assert names("none") == []
    assert names("fpn") == ["fpn1", "fpn2", "fpn3", "fpn4", "fpn5"]
    assert names("fpn3, res3") == names(["res3", "fpn3", "res3"]) == ["res3", "fpn3"]
    assert names("all") == list(PAPER)
    assert [position.name for position in positions.parse("stereo", "all")] == ["layer4", "volume"]


@pytest.mark.parametrize(
    ("network", "words", "said"),
    [
        ("detection", "res5", "'res5' is no position in detection; there are res3, res4, fpn1"),
        ("stereo", "fpn", "'fpn1' is no position in stereo; there are layer4, volume"),
        ("stereo", "", "'' is no position"),
    ],
)
def test_an_unknown_position_is_one_line(network: str, words: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        positions.parse(network, words)


@pytest.mark.parametrize(
    ("attention", "said"),
    [
        (Attention(heads=3), "d_k = 64 cannot be divided by 3 heads"),
        (Attention(d_k=96, heads=3), "C of res3 = 1024 cannot be divided by 3 heads"),
        (Attention(heads=0), "at least 1"),
    ],
)
def test_heads_that_do_not_divide_are_one_line(attention: Attention, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        position_cost.table("detection", "res3", attention, 896, 1280)
