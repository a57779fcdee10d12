from typing import Any

from fabench.analysis.settings import kind, settings
from fabench.schema import Case, Cell


def cell(n: int, m: int | None = None, device: str = "cpu", **rest: Any) -> Cell:
    return Cell("dot_product", device, Case(n=n, m=m or n, **rest))


def test_a_setting_reads_like_a_sentence() -> None:
    assert settings([cell(256, heads=8)]) == ["core · softmax · fp32 · fwd · b=1 · h=8 · d=64 · cpu"]
    module = cell(
        256, d_k=32, device="cuda:1", dtype="bfloat16", mode="fwd_bwd", scope="module", channels=64, reprojection=True, residual=True,
        pool=2, scale="1/n", mask="padding", normalisation="scaling",
    )  # fmt: skip
    assert settings([module]) == [
        "module · scaling · bf16 · fwd_bwd · b=1 · h=1 · dk=32 · dv=64 · c=64 · reprojection · residual · pool=2 · scale=1/n"
        " · mask=padding · cuda:1"
    ]


def test_sizes_share_a_setting_and_everything_else_parts_it() -> None:
    assert len(set(settings([cell(256), cell(512), cell(1024, space="32x32")]))) == 1
    others = [
        cell(256),
        cell(256, heads=2),
        cell(256, d_k=32),
        cell(256, dtype="float16"),
        cell(256, mode="bwd"),
        cell(256, device="cuda"),
    ]
    assert len(set(settings([*others, cell(256, scale="1"), cell(256, mask="padding"), cell(256, batch=2)]))) == 9


def test_a_held_total_is_one_setting() -> None:
    found = settings([cell(65536 // batch, batch=batch) for batch in (1, 2, 4, 8)])
    assert set(found) == {"core · softmax · fp32 · fwd · tokens=65536 · h=1 · d=64 · cpu"}


def test_a_grid_of_batches_is_not_a_held_total() -> None:
    found = settings([cell(n, batch=batch) for batch in (1, 2, 4) for n in (256, 512, 1024)])
    assert {name.split(" · ")[4] for name in found} == {"b=1", "b=2", "b=4"}


def test_cross_attention_says_its_keys() -> None:
    fixed = settings([cell(n, m=77) for n in (256, 512)])
    assert set(fixed) == {"core · softmax · fp32 · fwd · b=1 · h=1 · d=64 · m=77 · cpu"}
    passing = settings([cell(n, m=1024) for n in (256, 512, 1024, 2048)])
    assert len(set(passing)) == 1 and "m=1024" in passing[2]
    both = settings([*(cell(n) for n in (256, 512, 1024)), *(cell(n, m=77) for n in (256, 512, 1024))])
    assert len(set(both)) == 2


def test_layouts_part_only_where_they_meet() -> None:
    assert len(set(settings([cell(1024, space="32x32"), cell(131072, space="64x64x32"), cell(4096)]))) == 1
    met = settings([cell(1024, space="32x32"), cell(1024), cell(4096)])
    assert [name.split(" · ")[-2] for name in met] == ["image", "sequence", "sequence"]


def test_kinds() -> None:
    assert [kind(Case(n=64, m=64, space=space)) for space in (None, "8x8", "4x4x4", "4x4x2x2")] == [
        "sequence",
        "image",
        "video",
        "volume",
    ]
