"""The README of the benchmarks: every file is in its tables, and every name in them exists."""

import re
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SECTIONS = re.split(r"^##+ ", (BENCHMARKS / "README.md").read_text(), flags=re.MULTILINE)[1:]


def names_in_tables(*titles):
    """The files and folders in the first column of the tables below these headings."""
    text = "\n".join(part for part in SECTIONS if part.partition("\n")[0].strip("`/ ") in titles)
    return re.findall(r"^\| `([\w./]+)` \|", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("folder", "titles"),
    [
        (".", ("Speed and memory", "Accuracy", "Safety")),
        ("diagnosis", ("diagnosis",)),
        ("doctor", ("doctor",)),
        ("nonfinite", ("nonfinite",)),
        ("faults", ("faults",)),
    ],
)
def test_every_file_and_folder_is_in_one_table(folder, titles):
    found = {
        f"{path.name}/" if path.is_dir() else path.name
        for path in (BENCHMARKS / folder).iterdir()
        if path.suffix == ".py" or (path.is_dir() and path.name != "__pycache__")
    }
    assert sorted(names_in_tables(*titles)) == sorted(found - {"__init__.py"})


def test_every_command_runs_a_file_that_exists():
    commands = re.findall(r"`(?:OMP_NUM_THREADS=1 )?python (benchmarks/\S+\.py)", "".join(SECTIONS))
    assert len(commands) >= 12
    assert all((BENCHMARKS.parent / command).is_file() for command in commands)


def test_the_number_of_programs_is_stated():
    (number,) = re.findall(r"(\d+) programs in many styles", "".join(SECTIONS))
    assert int(number) == len([*(BENCHMARKS / "doctor" / "programs").glob("*.py")])
