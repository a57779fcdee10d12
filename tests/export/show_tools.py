"""Shows how foreign tools read exports of a stored run: each command, and the first lines of what it says.

    python -m tests.export.show_tools [RUN]         the repository's sample if no run is given

A tool that is not installed is said and left out. compare.py is Google Benchmark's (Debian: libbenchmark-tools; FABENCH_GBENCH_COMPARE
names one elsewhere). Head is the same run: what is shown is that the files are read, not a difference.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

SAMPLE = Path(__file__).parent.parent.parent / "results" / "sample-quick-cpu"
COMPARE = os.environ.get("FABENCH_GBENCH_COMPARE", "/usr/share/benchmark/compare.py")
LINES, WIDTH = 8, 150
FABENCH = (sys.executable, "-m", "fabench")


def show(folder: Path, *words: str, reader: bool = True) -> int:
    """Runs a command in `folder`; a reader's output is shown."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | {"COLUMNS": "240"})
    said = [line for line in (done.stdout if reader else done.stderr).splitlines() if line.strip()]
    shown = shlex.join([Path(words[0]).name, *words[1:]])
    sys.stdout.write(f"$ {shown}    (exit code {done.returncode}, {len(said)} lines)\n")
    sys.stdout.writelines(f"    {line[:WIDTH]}\n" for line in said[:LINES])
    if done.returncode and reader:
        sys.stdout.writelines(f"    {line[:WIDTH]}\n" for line in done.stderr.splitlines()[-LINES:])
    return done.returncode


def main(run: str) -> int:
    """0 where every tool that is here read its file."""
    codes = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            "base.json": "pytest-benchmark",
            "head.json": "pytest-benchmark",
            "google.json": "google-benchmark",
            "cells.xml": "junit",
        }
        for file, form in files.items():
            codes.append(show(folder, *FABENCH, "export", run, "--format", form, "--output", file, reader=False))
        codes.append(show(folder, *FABENCH, "compare", run, run, "--junit", "verdicts.xml", "--json"))
        tools = (
            ("pytest_benchmark", (sys.executable, "-m", "pytest_benchmark", "compare", "base.json", "head.json", "--between=median,min")),
            (COMPARE, (sys.executable, COMPARE, "--no-color", "--display_aggregates_only", "benchmarks", "google.json", "google.json")),
            ("junitparser", (sys.executable, "-m", "junitparser", "merge", "cells.xml", "verdicts.xml", "both.xml")),
            ("junitparser", (sys.executable, "-m", "junitparser", "verify", "cells.xml", "verdicts.xml", "both.xml")),
        )  # fmt: skip
        for tool, words in tools:
            if Path(tool).exists() or (tool.isidentifier() and importlib.util.find_spec(tool) is not None):
                codes.append(show(folder, *words))
            else:
                sys.stdout.write(f"not installed: {tool}\n")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main(str(Path(sys.argv[1] if len(sys.argv) > 1 else SAMPLE).resolve())))
