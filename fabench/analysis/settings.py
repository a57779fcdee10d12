"""Names for settings: everything of a case but its size, and the device. Cells of one setting and one implementation make a curve in n.

Three things don't fit the plain form, and each is decided for all cells that are otherwise alike by the reading that gives the
fewest curves (ties go to the plain form):

- batch: a sweep with a held total has batch * n constant; its setting says `tokens=65536` in place of `b=..`;
- cross-attention: `m=77` is said where m differs from n, and on all cells where the sweep holds m and merely passes n = m;
- layout: images and sequences are one curve in n, unless the same n was measured in both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fabench.case import SHORT_DTYPE
from fabench.places import WITHOUT
from fabench.schema import Case, Cell

__all__ = ["kind", "settings"]

_KINDS = {1: "sequence", 2: "image", 3: "video"}
_DOT = " · "


def kind(case: Case) -> str:
    """One of "sequence", "image" or "video", by the number of position axes."""
    return "sequence" if case.space is None else _KINDS.get(case.space.count("x") + 1, "volume")


def settings(cells: Sequence[Cell]) -> list[str]:
    """The setting of each cell, in their order. Depends on all cells given, so give all that are read together."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for position, cell in enumerate(cells):
        groups.setdefault(_alike(cell), []).append(position)
    names = [""] * len(cells)
    for positions in groups.values():
        _name_group(cells, positions, names)
    return names


def _alike(cell: Cell) -> tuple[object, ...]:
    case = cell.case
    return (
        cell.device, case.heads, case.d_k, case.d_v, case.dtype, case.mode, case.normalisation, case.scale, case.mask,
        case.scope, case.channels, case.reprojection, case.residual, case.pool,
        *((case.network, case.backbone, case.positions) if case.scope == "network" else ()),
    )  # fmt: skip


def _name_group(cells: Sequence[Cell], positions: Sequence[int], names: list[str]) -> None:
    cases = {position: cells[position].case for position in positions}
    held_total = _held_total(cases.values())
    held_keys = _held_keys(cases.values())
    size: dict[int, tuple[str, str]] = {}
    layouts: dict[tuple[str, str, int], set[str]] = {}
    for position, case in cases.items():
        batch = f"tokens={case.batch * case.n}" if held_total else f"b={case.batch}"
        keys = f"m={case.m}" if held_keys or case.m != case.n else ""
        size[position] = (batch, keys)
        layouts.setdefault((batch, keys, case.n), set()).add(kind(case))
    mixed = {(batch, keys) for (batch, keys, _), kinds in layouts.items() if len(kinds) > 1}
    made: dict[tuple[str, str, str], str] = {}
    for position, case in cases.items():
        layout = kind(case) if size[position] in mixed else ""
        label = (*size[position], layout)
        if label not in made:
            made[label] = _text(case, cells[position].device, *label)
        names[position] = made[label]


def _held_total(cases: Iterable[Case]) -> bool:
    sizes = {(case.batch, case.n) for case in cases}
    return len({batch * n for batch, n in sizes}) < len({batch for batch, _ in sizes})


def _held_keys(cases: Iterable[Case]) -> bool:
    sizes = {(case.n, case.m) for case in cases}
    apart = {m for n, m in sizes if m != n}
    return len({m for _, m in sizes}) < len(apart) + any(m == n for n, m in sizes)


def _text(case: Case, device: str, batch: str, keys: str, layout: str) -> str:
    if case.scope == "network":
        inserted = (
            []
            if case.positions == WITHOUT
            else [f"h={case.heads}", f"d_k={case.d_k}", "" if case.pool == 1 else f"pool={case.pool}"]
        )
        parts = [
            case.scope,
            str(case.network),
            str(case.backbone),
            str(case.positions),
            SHORT_DTYPE[case.dtype],
            case.mode,
            batch,
        ]
        return _DOT.join(part for part in (*parts, *inserted, device) if part)
    widths = [f"d={case.d_k}"] if case.d_k == case.d_v else [f"dk={case.d_k}", f"dv={case.d_v}"]
    module = []
    if case.scope == "module":
        module = [f"c={case.channels}", "reprojection" if case.reprojection else "", "residual" if case.residual else ""]
        module.append("" if case.pool == 1 else f"pool={case.pool}")
    scale = "" if case.scale == "1/sqrt(d_k)" else f"scale={case.scale}"
    mask = "" if case.mask == "none" else f"mask={case.mask}"
    parts = [case.scope, case.normalisation, SHORT_DTYPE[case.dtype], case.mode, batch, f"h={case.heads}", *widths, *module]
    return _DOT.join(part for part in (*parts, scale, mask, keys, layout, device) if part)
