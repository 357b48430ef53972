"""The page on networks names every network, and what each has beside the others."""

from pathlib import Path

import pytest

from gradlab.config import choices

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
ROWS = {
    row.split("`")[1]: row
    for row in PAGE.splitlines()
    if row.startswith("| `") and "model" not in row
}
COMMON = ("name", "_target_", "reads", *choices.NEEDED["model"])


def test_every_network_has_its_row():
    assert sorted(ROWS) == choices.names("model")


@pytest.mark.parametrize("name", choices.names("model"))
def test_its_own_keys_are_named(name):
    own = [key for key in choices.load("model", name) if key not in COMMON]
    assert sorted(own) == sorted(
        ROWS[name].rsplit("|", 2)[1].replace("`", "").replace(",", "").split()
    )


@pytest.mark.parametrize("name", choices.names("model"))
def test_what_it_reads_is_told(name):
    reads = choices.load("model", name).get("reads", "flat")
    assert {"flat": "features", "image": "images", "sequence": "sequences"}[reads] in ROWS[name]


def test_every_data_set_of_sequences_is_named():
    assert all(f"data={name}" in PAGE for name in ("adding", "copying", "digits"))
