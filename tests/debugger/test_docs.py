"""docs/doctor.md: the table contains every finding, and the example runs."""

import re
from pathlib import Path

import gradlab.debugger
from gradlab.mistakes.catalogue import CATALOGUE

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"
SOURCE = Path(gradlab.debugger.__file__).parent


def listed_findings():
    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_all_findings_are_listed():
    source = "".join(file.read_text() for file in SOURCE.rglob("*.py"))
    kinds = set(re.findall(r'CodeFinding\(\s*"(\w+)"', source))
    assert kinds > {"no_zero_grad", "learning_rate", "wrong_backward"}
    assert kinds <= listed_findings()
    assert all(name in source for name in listed_findings() if "before_" not in name)


def test_the_catalogue_is_listed():
    assert {mistake.name for mistake in CATALOGUE} - {"transposed_backward"} <= listed_findings()


def test_the_example_runs(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), {"__name__": "example"})
    assert capsys.readouterr().out.startswith("broadcast_target: ")
