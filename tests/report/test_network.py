"""Network pages: the drawing says what position_cost says, what did not fit is written, and the paper's figures carry their source."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fabench import position_cost
from fabench.places import POSITIONS
from fabench.positions import Attention
from fabench.report import write_report
from fabench.report.blocks import BarChart, NetworkDrawing, Report, Section, Table
from fabench.report.content import compose
from fabench.report.draw import bars, detection, stereo
from fabench.report.draw.network import shape
from fabench.report.page.blocks import values
from fabench.report.readings import Readings, read
from fabench.report.words import reproduce_with, show
from fabench.schema import Cell, Record
from tests import synthetic
from tests.report import hostile
from tests.report import networks as made

DRAW = {"detection": detection.draw, "stereo": stereo.draw}
RECORDS = [*made.records(), *made.records("stereo")]


def read_all(records: list[Record]) -> Readings:
    return read(records, [synthetic.environment()], reproduce_with("detection"))


@pytest.fixture(scope="module")
def built() -> Report:
    return compose(read_all(RECORDS), "Networks")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    paths = write_report(
        RECORDS, [synthetic.environment()], tmp_path_factory.mktemp("n"), "run", ["html", "markdown", "json", "csv"]
    )
    return {path.name: path.read_text(encoding="utf-8") for path in paths}


def section(report: Report, key: str) -> Section:
    return next(part for part in report.sections if part.id == key)


def drawing(report: Report, network: str) -> NetworkDrawing:
    blocks = section(report, "network").blocks
    return next(block for block in blocks if isinstance(block, NetworkDrawing) and block.network == network)


def table(report: Report, key: str) -> Table:
    return next(block for part in report.sections for block in part.blocks if isinstance(block, Table) and block.id == key)


def texts(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def column(found: Table, title: str) -> list[object]:
    place = [one.title for one in found.columns].index(title)
    return [row[place] for row in found.rows]


def test_a_page_of_networks_begins_with_them(built: Report) -> None:
    assert [part.id for part in built.sections[:3]] == ["network", "network-cost", "overview"]


def test_a_page_without_networks_does_not_speak_of_them(report: Report) -> None:
    assert not [part.id for part in report.sections if part.id.startswith("network")]


@pytest.mark.parametrize("network", POSITIONS)
def test_every_position_is_drawn_once(built: Report, network: str) -> None:
    found = drawing(built, network)
    assert tuple(place.cost.position for place in found.places) == POSITIONS[network]
    said = texts(DRAW[network](found))
    for position in POSITIONS[network]:
        named = len(re.findall(rf'class="direct-name">{position.name}<', DRAW[network](found)))
        assert named == 1, position.name
    assert sum(text.startswith("n = ") for text in said) == len(POSITIONS[network])


@pytest.mark.parametrize("network", POSITIONS)
def test_the_numbers_drawn_are_position_costs(built: Report, network: str) -> None:
    found = drawing(built, network)
    said = texts(DRAW[network](found))
    for cost in position_cost.table(network, "all", Attention(), found.height, found.width):
        assert shape((*cost.space, cost.position.channels)) in said
        assert [text for text in said if text.startswith(f"n = {cost.n:,}")]
        assert f"n × n map {show(cost.map_bytes, 'decimal')}" in said
        for size, mac in ((cost.dot_product_bytes, cost.dot_product_mac), (cost.factorized_bytes, cost.factorized_mac)):
            at = said.index(show(size, "decimal"))
            assert said[at + 1] == show(mac, "mac")


def test_the_papers_input_is_drawn_with_the_papers_figures() -> None:
    """20.55 GB, 1.651 T and 9.395 G are of the paper's table, typed in."""
    costs = position_cost.table("detection", "fpn1", Attention(), 896, 1280)
    assert (show(costs[0].map_bytes, "decimal"), show(costs[0].dot_product_bytes, "decimal")) == ("20.55 GB", "20.81 GB")
    assert (show(costs[0].dot_product_mac, "mac"), show(costs[0].factorized_mac, "mac")) == ("1.651 T MAC", "9.395 G MAC")
    assert show(costs[0].factorized_bytes, "decimal") == "257.0 MB"


def test_cards_are_filled_where_the_run_has_a_block() -> None:
    some = [one for one in made.records() if one.cell.case.positions in ("none", "fpn1", "res3")]
    found = drawing(compose(read_all(some)), "detection")
    assert {place.cost.position.name for place in found.places if place.blocks} == {"fpn1", "res3"}
    svg = detection.draw(found)
    assert svg.count('class="slot on"') == 2 + 1 and svg.count('class="slot"') == 5 + 1  # and one of each in the key
    whole = [one for one in made.records() if one.cell.case.scope == "network" and one.cell.case.positions in ("none", "fpn")]
    names = {place.cost.position.name for place in drawing(compose(read_all(whole)), "detection").places if place.blocks}
    assert names == {f"fpn{level}" for level in range(1, 6)}


def test_out_of_memory_is_written_where_it_happened(built: Report) -> None:
    found = drawing(built, "detection")
    lost = {place.cost.position.name for place in found.places if place.quadratic_missing}
    assert lost == {"fpn1"} and not any(place.linear_missing for place in found.places)
    assert detection.draw(found).count(">OUT OF MEMORY<") == 1


def test_no_text_of_a_drawing_leaves_it(built: Report) -> None:
    for network, draw in DRAW.items():
        svg = draw(drawing(built, network))
        width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
        for x, y, anchor, content in re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*?(text-anchor="\w+")?>([^<]*)<', svg):
            wide = 6.2 * len(content)
            left = float(x) - (wide if "end" in anchor else wide / 2 if "middle" in anchor else 0)
            assert left >= -1 and left + wide <= width + 1 and 0 < float(y) < height, content


def test_boxes_and_cards_do_not_overlap(built: Report) -> None:
    for network, draw in DRAW.items():
        svg = draw(drawing(built, network))
        found = re.findall(
            r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" rx="5" class="(?:node|slot on|slot)"', svg
        )
        found += [
            (x, y, w, h)
            for _, x, y, w, h in re.findall(
                r'<rect class="(slot on|slot)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"', svg
            )
        ]
        areas = [tuple(map(float, one)) for one in found]
        assert len(areas) >= 10
        for at, (x, y, w, h) in enumerate(areas):
            for other in areas[at + 1 :]:
                assert x + w <= other[0] or other[0] + other[2] <= x or y + h <= other[1] or other[1] + other[3] <= y


def charts(report: Report) -> list[BarChart]:
    return [block for block in section(report, "network-cost").blocks if isinstance(block, BarChart)]


def test_whole_networks_and_blocks_alone_are_never_in_one_chart(built: Report) -> None:
    titles = [chart.title for chart in charts(built)]
    assert {title.partition(":")[0] for title in titles} == {"Whole network", "Block alone"}
    assert all(chart.linear == chart.title.startswith("Whole") for chart in charts(built))
    first = charts(built)[0]
    assert [group.title for group in first.groups] == ["no attention", "fpn1", "fpn1 to fpn5", "all 7 positions"]
    assert "800 × 1,344" in first.subtitle, "the largest input comes first"


def test_a_missing_bar_says_out_of_memory_and_the_predicted_map(built: Report) -> None:
    time, memory = charts(built)[:2]
    for chart in (time, memory):
        lost = [bar for group in chart.groups for bar in group.bars if bar.value is None]
        assert len(lost) == 3
        assert all(bar.missing == "OUT OF MEMORY" and bar.above == "map of fpn1: 18.06 GB, predicted" for bar in lost)
        svg = bars.draw(chart)
        assert svg.count(">OUT OF MEMORY<") == 3 and svg.count(">map of fpn1: 18.06 GB, predicted<") == 3
        columns, rows = values(chart)
        place = [one.title for one in columns].index("missing")
        assert sum(row[place] == "OUT OF MEMORY, map of fpn1: 18.06 GB, predicted" for row in rows) == 3


def test_the_bars_of_a_linear_axis_begin_at_nothing(built: Report) -> None:
    chart = charts(built)[0]
    svg = bars.draw(chart)
    heights = [float(one) for one in re.findall(r'<rect x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)" class="bar"', svg)]
    times = [bar.value for group in chart.groups for bar in group.bars if bar.value]
    assert [height / heights[0] for height in heights] == pytest.approx([time / times[0] for time in times], rel=1e-3)
    assert ">0<" in svg


def test_ratios_stand_in_bars_table_and_headline(built: Report) -> None:
    overheads = table(built, "network-overheads")
    row = next(row for row in overheads.rows if row[1:4] == ("800 × 1,344", "all 7 positions", "factorized"))
    ratio = row[[one.title for one in overheads.columns].index("over none")]
    shown = show(ratio, "ratio")
    assert built.headline.startswith(
        f"Mask R-CNN at 800 × 1,344: factorized attention at all 7 positions takes {shown} the time of none; "
    )
    assert built.headline.endswith("dot_product there is out of memory (map of fpn1: 18.06 GB, predicted).")
    assert built.facts[0].value == shown.partition(" ")[0]
    assert [bar.above for group in charts(built)[0].groups for bar in group.bars].count(shown.partition(" ")[0]) == 1


def test_what_the_blocks_take_at_least_is_arithmetic(built: Report) -> None:
    found = table(built, "network-overheads")
    row = next(row for row in found.rows if row[1:4] == ("480 × 640", "all 7 positions", "dot_product"))
    case = next(
        one.cell.case
        for one in RECORDS
        if one.cell.case.space == "480x640" and one.cell.case.positions == "all" and one.time_order == 2
    )
    place = [one.title for one in found.columns].index("blocks at least, predicted")
    assert row[place] == position_cost.of_network(case, 2, 2).working_bytes and row[place + 1] == 4 * (120 * 160) ** 2


def test_a_pooled_block_that_did_not_fit_is_not_the_plain_one() -> None:
    def pooled(record: Record) -> Record:
        return (
            replace(record, cell=replace(record.cell, case=replace(record.cell.case, pool=2)))
            if record.status != "ok"
            else record
        )

    found = drawing(compose(read_all([pooled(record) for record in made.records()])), "detection")
    assert not any(place.quadratic_missing for place in found.places)


def test_what_is_predicted_is_called_so(built: Report) -> None:
    predicted = [one.title for one in table(built, "network-positions-detection").columns if one.kind in ("decimal", "mac")]
    assert len(predicted) == 5 and all(title.endswith(", predicted") for title in predicted)
    assert "Predicted, not measured" in drawing(built, "detection").note


def test_the_papers_figures_carry_their_source(built: Report) -> None:
    found = table(built, "network-positions-detection")
    title = "paper's box / mask AP, FA"
    figures = dict(zip(column(found, "position"), column(found, title), strict=True))
    assert figures["fpn1"] == "39.9 / 35.8 [v1]" and figures["all 7 positions"] == "41.2 / 36.7 [v1]"
    assert all(isinstance(one, str) and re.search(r"\[(v1|blog)", one) for one in figures.values())
    others = dict(zip(column(found, "position"), column(found, "paper's box / mask AP, non-local"), strict=True))
    assert others["fpn1 to fpn5"] == others["all 7 positions"] == "out of memory [blog]"
    assert "none measured here" in found.note and "arXiv 1812.01243" in found.note


def test_the_share_of_re_tuning_is_said_wherever_the_error_is_quoted(pages: dict[str, str]) -> None:
    for name in ("run.html", "run.md"):
        assert "0.477" in pages[name] and "94 % is its re-tuned training without any attention" in pages[name]


def test_markdown_json_and_csv_say_the_same(built: Report, pages: dict[str, str]) -> None:
    readings = json.loads(pages["run.json"])["readings"]
    for network in POSITIONS:
        key = f"network-positions-{network}"
        costs = {
            cost.position.name: cost
            for size in made.SIZES[network][-1:]
            for cost in position_cost.table(network, "all", Attention(), *size)
        }
        maps = {cost.map_bytes for cost in costs.values()}
        place = [one["title"] for one in readings[key]["columns"]].index("n × n map, predicted")
        assert maps <= {row[place] for row in readings[key]["rows"]}
        rows = list(csv.DictReader(pages[f"run-{key}.csv"].splitlines()))
        assert {str(size) for size in maps} <= {row["n × n map, predicted"] for row in rows}
        assert all(show(size, "decimal") in pages["run.md"] for size in maps)
    assert readings["network-overheads"]["rows"] and readings["network-blocks"]["rows"]
    assert built.headline in pages["run.html"] and "OUT OF MEMORY" in pages["run.html"]


def test_few_samples_have_no_interval_and_the_first_screen_says_so() -> None:
    few = []
    for record in made.records():
        timing = record.timing
        cut = (
            None
            if timing is None
            else replace(timing, samples_s=timing.samples_s[:1], minor_faults=None, involuntary_switches=None)
        )
        few.append(replace(record, timing=cut))
    found = compose(read_all(few))
    assert "too few samples for an interval" in found.verdict and "(" not in found.headline.partition(" the time of none")[0]
    bar = charts(found)[0].groups[0].bars[0]
    assert bar.value is not None and bar.low is None and "1 sample, too few for an interval" in bar.label


def test_the_headline_is_of_the_largest_input_that_has_an_interval() -> None:
    found = []
    for record in made.records():
        timing = record.timing
        if timing is not None and record.cell.case.scope == "network" and record.cell.case.space == "800x1344":
            timing = replace(timing, samples_s=timing.samples_s[:3], minor_faults=None, involuntary_switches=None)
        found.append(replace(record, timing=timing))
    assert compose(read_all(made.records())).headline.startswith("Mask R-CNN at 800 × 1,344: ")
    assert compose(read_all(found)).headline.startswith("Mask R-CNN at 480 × 640: ")


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    records = [
        replace(record, cell=Cell(hostile.SCRIPT + record.cell.implementation, record.cell.device, record.cell.case), reason=None if record.status == "ok" else text)
        for record, text in zip(made.records(), hostile.TEXTS * 9, strict=False)
    ]  # fmt: skip
    for path in write_report(records, [synthetic.environment()], tmp_path, "x", ["html", "markdown"]):
        text = path.read_text(encoding="utf-8")
        assert "<script>document" not in text and "<img" not in text and "\x1b" not in text


def test_equal_input_gives_equal_bytes(pages: dict[str, str], tmp_path: Path) -> None:
    again = write_report(RECORDS, [synthetic.environment()], tmp_path, "run", ["html"])[0]
    assert again.read_text(encoding="utf-8") == pages["run.html"]
