"""The page on diagnosis names every kind and threshold as they are."""

from pathlib import Path

from gradlab import schema
from gradlab.config import choices

PAGE = (Path(__file__).parents[2] / "docs" / "diagnosis.md").read_text()
KINDS_PART, LEARNING_PART = PAGE.split("## Kinds of findings")[1].split(
    "## Does the network learn?"
)


def rows(text):
    """Return the rows of the tables in a text, keyed by the name in their first cell."""
    found = {}
    for row in text.splitlines():
        if row.startswith("| `"):
            found[row.split("`")[1]] = found.get(row.split("`")[1], "") + row
    return found


ROWS = rows(KINDS_PART)


def test_every_kind_has_its_row():
    assert [*ROWS] == list(schema.KINDS)


def test_every_state_of_learning_has_its_row():
    assert sorted(rows(LEARNING_PART)) == sorted(schema.LEARNING)


def test_the_thresholds_are_those_of_the_file():
    limits = choices.load("diagnose", "default")
    assert f"{limits['decades']:+g} decades" in ROWS["exploding"]
    assert f"{-limits['decades']:+g} decades" in ROWS["vanishing"]
    assert f"{limits['starved_decades']:g} decades or more below" in ROWS["starved"]
    assert f"{limits['symmetric']:.0%} of their norm" in ROWS["symmetric"]
    assert f"below {limits['descent']:g}" in ROWS["unstable"]
    assert limits["rise"] == 2
    assert "at least twice the first loss" in ROWS["unstable"]
    assert f"at least {limits['update']:.0%} of their norm" in ROWS["unstable"]
    assert f"by {limits['spike']:g} standard deviations" in ROWS["spike"]
    assert f"{limits['growth']:,.0f} times" in ROWS["exploding"]
    for kind in ("exploding", "vanishing"):
        assert ROWS[kind].endswith(f"| at least {limits['severe_decades']:g} decades |")
    for kind, name in (("dead", "dead"), ("saturated", "saturated"), ("underflow", "zeros")):
        assert f"{limits[name]:.0%} of a layer" in ROWS[kind]


def test_each_threshold_has_its_reason():
    file = choices.conf_dir() / "diagnose" / "default.yaml"
    lines = file.read_text().splitlines()[3:]
    assert len(lines) == len(choices.load("diagnose", "default")) - 2
    assert all("  # " in line for line in lines)
