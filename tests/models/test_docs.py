"""The page on networks lists every network with its keys."""

from pathlib import Path

import pytest

from gradlab.config import choices

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text()
TABLE = PAGE.split("| `model` |")[1].split("\n\n")[0]
ROWS = {row.split("`")[1]: row for row in TABLE.splitlines() if row.startswith("| `")}
COMMON = ("name", "_target_", "reads", *choices.REQUIRED["model"])


def test_every_network_has_a_row():
    assert sorted(ROWS) == choices.names("model")


@pytest.mark.parametrize("name", choices.names("model"))
def test_the_keys_of_a_network_are_listed(name):
    keys = [key for key in choices.load("model", name) if key not in COMMON]
    assert sorted(keys) == sorted(
        ROWS[name].rsplit("|", 2)[1].replace("`", "").replace(",", "").split()
    )


@pytest.mark.parametrize("name", choices.names("model"))
def test_the_input_of_a_network_is_listed(name):
    reads = choices.load("model", name).get("reads", "flat")
    assert {"flat": "features", "image": "images", "sequence": "sequences"}[reads] in ROWS[name]


def test_every_data_set_of_sequences_is_named():
    assert all(f"data={name}" in PAGE for name in ("adding", "copying", "digits"))
