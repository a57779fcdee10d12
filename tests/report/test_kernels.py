"""The page of kernel sheets says what is in them, what is at fault, and that nothing of it was measured."""

from dataclasses import replace
from pathlib import Path

from fabench.analysis.sheets import GPUS
from fabench.report.blocks import Table
from fabench.report.kernels import kernel_report, write_kernels
from fabench.schema import from_json
from fabench.sheet import SheetFile

HELD = from_json(SheetFile, (Path(__file__).parents[2] / "results" / "kernels.json").read_bytes())


def test_the_page_has_every_kernel(tmp_path: Path) -> None:
    report = kernel_report(HELD)
    assert report.headline == f"{len(HELD.sheets)} kernels for 5 targets: no faults."
    tables = [block for section in report.sections for block in section.blocks if isinstance(block, Table)]
    assert sum(len(table.rows) for table in tables) == len(HELD.sheets)
    page, text = write_kernels(HELD, tmp_path, "kernels", ("html", "markdown"))
    for path in (page, text):
        said = path.read_text()
        assert "never measured" in said
        assert all(gpu.name in said for gpu in GPUS)


def test_a_fault_is_a_warning_on_the_first_screen() -> None:
    spilling = replace(HELD.sheets[0], spills=3)
    report = kernel_report(SheetFile(HELD.triton, (spilling,)))
    assert report.headline == "1 kernel for 1 target: 1 fault."
    assert "spills registers" in report.warnings[0]
