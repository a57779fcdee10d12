"""How networks, their settings and what is inserted are called, in all sections that speak of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fabench.analysis.network import NetworkCell, Setting
from fabench.case import SHORT_DTYPE
from fabench.places import POSITIONS, WITHOUT, parse
from fabench.report import words
from fabench.report.blocks import Series
from fabench.report.readings import Readings
from fabench.report.style import assign

__all__ = ["NAMES", "block_names", "choice", "image", "map_of", "series_of", "setting"]

NAMES = {"detection": "Mask R-CNN", "stereo": "PSMNet"}
_MODES = {"fwd": "inference", "fwd_bwd": "training step", "bwd": "backward"}
_LISTED = 3


def image(size: tuple[int, int]) -> str:
    """`800 × 1,344`."""
    return f"{size[0]:,} × {size[1]:,}"


def setting(found: Setting) -> str:
    """`inference · fp32 · batch 1 · cpu`; the network itself is said elsewhere."""
    _, device, dtype, mode, batch = found
    return words.plain(f"{_MODES.get(mode, mode)} · {SHORT_DTYPE.get(dtype, dtype)} · batch {batch} · {device}")


def choice(network: str, positions: str) -> str:
    """Positions as a reader says them: `no attention`, `res3`, `fpn1 to fpn5`, `all 7 positions`."""
    found = parse(network, positions)
    if positions == WITHOUT:
        return "no attention"
    if positions == "fpn":
        return "fpn1 to fpn5"
    if len(found) == len(POSITIONS[network]):
        return f"all {len(found)} positions"
    names = [one.name for one in found]
    return " + ".join(names) if len(names) <= _LISTED else f"{' + '.join(names[:_LISTED])} + {len(names) - _LISTED} more"


def block_names(cells: Iterable[NetworkCell]) -> dict[tuple[str, int, int, int], str]:
    """A name for each thing inserted: the implementation, and of heads, d_k and pooling what differs among `cells`."""
    found = [cell.attention for cell in cells if not cell.bare]
    several = [len({one[index] for one in found}) > 1 for index in range(4)]
    return {one: _name(one, several) for one in dict.fromkeys(found)}


def _name(attention: tuple[str, int, int, int], several: list[bool]) -> str:
    implementation, heads, d_k, pool = attention
    parts = [implementation]
    parts += [f"{heads} head{'' if heads == 1 else 's'}"] if several[1] else []
    parts += [f"d_k = {d_k}"] if several[2] else []
    parts += [f"K and V pooled {pool}×{pool}"] if pool > 1 else []
    return words.plain(", ".join(parts))


def series_of(readings: Readings, cells: Iterable[NetworkCell]) -> Mapping[tuple[str, int, int, int] | None, Series]:
    """What each thing inserted looks like; None is the network without attention."""
    known = list(cells)
    names = block_names(known)
    families = {cell.attention: cell.family for cell in known if not cell.bare}
    order = sorted(names, key=lambda one: (readings.styles[one[0]], one[1:]))
    styles = assign({names[one]: families[one] for one in order} | {"no attention": None})
    found: dict[tuple[str, int, int, int] | None, Series] = {None: Series("no attention", styles["no attention"])}
    return found | {one: Series(names[one], styles[names[one]]) for one in order}


def map_of(cell: NetworkCell) -> str:
    """The largest map that arithmetic predicts: `map of fpn1: 18.06 GB, predicted`; "" where the implementation holds none."""
    if not cell.maps:
        return ""
    place, size = cell.maps[0]
    return f"map of {place}: {words.show(size, 'decimal')}, predicted"
