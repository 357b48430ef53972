"""Every situation that docs/watch.md promises has a test of that name."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parents[1] / "docs" / "watch.md"


def test_each_situation_has_its_test():
    rows = PAGE.read_text(encoding="utf-8").split("## Situations")[1].split("## ")[0]
    named = set(re.findall(r"`(test_\w+)`", rows))
    written = "\n".join(
        path.read_text(encoding="utf-8") for path in TESTS.parent.glob("[mi]*/test_*.py")
    )
    assert named - set(re.findall(r"^def (test_\w+)", written, re.MULTILINE)) == set()
    table = [line for line in rows.splitlines() if line.startswith("|")][2:]
    assert len(table) > 25
    assert all("`test_" in line for line in table)
