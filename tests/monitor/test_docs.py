"""docs/watch.md: each situation has its test, and each block of Python prints the shown output."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from gradlab import schema
from tests.printed import assert_printed

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[1] / "docs" / "watch.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"```python\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
END = "end of block"


def run_in_order(blocks, folder):
    """Run blocks in one fresh process; return the output of each."""
    script = "\n".join(f"{block}\nprint({END!r})" for block in blocks)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{END}\n")[:-1]


def test_every_python_block_prints_the_shown_output(tmp_path):
    pairs = BLOCK.findall(PAGE)
    assert len(pairs) == PAGE.count("```python") == 7
    if importlib.util.find_spec("pytorch_lightning") is None:
        pairs = [pair for pair in pairs if "lightning" not in pair[0]]
    outputs = run_in_order([block for block, _ in pairs], tmp_path)
    for (_, shown), printed in zip(pairs, outputs, strict=True):
        assert_printed(shown, printed)


def test_each_situation_has_its_test():
    rows = PAGE.split("## Situations")[1].split("## ")[0]
    named = set(re.findall(r"`(test_\w+)`", rows))
    written = "\n".join(
        path.read_text(encoding="utf-8") for path in TESTS.parent.glob("[mi]*/test_*.py")
    )
    assert named - set(re.findall(r"^def (test_\w+)", written, re.MULTILINE)) == set()
    table = [line for line in rows.splitlines() if line.startswith("|")][2:]
    assert len(table) > 25
    assert all("`test_" in line for line in table)


def test_the_tables_of_columns_have_each_column_with_its_meaning():
    listed = PAGE.split("## Columns")[1].split("## Measurement")[0]
    rows = [line.split(" | ")[:2] for line in listed.splitlines() if line.startswith("| `")]
    columns = [*schema.LAYERS, *schema.STEPS]
    assert rows == [[f"| `{column.name}`", column.meaning] for column in columns]
