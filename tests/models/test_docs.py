"""The page on networks lists every network with its keys."""

import re
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
    assert sorted(keys) == sorted(re.findall(r"`(\w+)`", ROWS[name].rsplit("|", 2)[1]))


@pytest.mark.parametrize("key", ["activation", "init", "norm"])
def test_every_value_of_a_key_is_listed(key):
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `model.{key}`"))
    listed = row.rsplit("|", 2)[1].replace(" (torch's)", "").strip().split(", ")
    assert sorted(listed) == sorted(choices.names(f"model/{key}"))


@pytest.mark.parametrize("name", choices.names("model"))
def test_the_input_of_a_network_is_listed(name):
    reads = choices.load("model", name).get("reads", "flat")
    assert {"flat": "features", "image": "images", "sequence": "sequences"}[reads] in ROWS[name]


def test_every_data_set_has_a_row():
    assert sorted(re.findall(r"^\| `data=(\w+)`", PAGE, re.MULTILINE)) == choices.names("data")


@pytest.mark.parametrize("key", ["width", "activation", "init", "norm", "norm_position"])
def test_the_defaults_of_a_key_are_listed(key):
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `model.{key}`"))
    usual, *exceptions = row.split(" | ")[2].split("; ")
    listed = {n: part.split()[-1] for part in exceptions for n in re.findall(r"\w+", part)[:-1]}
    for name in choices.names("model"):
        assert listed.get(name, usual) == str(choices.load("model", name)[key])


@pytest.mark.parametrize("name", choices.names("model"))
def test_the_default_depth_is_listed(name):
    assert f"({choices.load('model', name)['depth']}) |" in ROWS[name]
