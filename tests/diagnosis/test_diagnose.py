"""Frames as they come: in any order, of several runs, with something missing."""

import numpy as np
import pandas as pd
import pytest

import gradlab
from gradlab.diagnosis.diagnose import LAYERS, diagnose
from gradlab.errors import StoreError
from tests.diagnosis.test_verdicts import frame

RISING = pd.DataFrame({"step": range(60), "loss": np.geomspace(1, 100, 60)})
SINKING = RISING.assign(loss=RISING["loss"][::-1].to_numpy())


def test_the_order_of_rows_changes_nothing():
    layers = frame([1e-5, 1e-2, 1.0])
    for steps in (RISING, SINKING):
        shuffled = [table.sample(frac=1, random_state=3) for table in (layers, steps)]
        assert diagnose(*shuffled) == diagnose(layers, steps)


def test_one_run_of_a_folder_is_judged_by_its_own_steps():
    steps = pd.concat([RISING.assign(run="0"), SINKING.assign(run="1")])
    layers = frame([1.0, 1.0])
    assert [f.kind for f in diagnose(layers.assign(run="0"), steps)] == ["unstable"]
    assert not diagnose(layers.assign(run="1"), steps)


@pytest.mark.parametrize("column", LAYERS)
def test_a_missing_column_is_named(column):
    with pytest.raises(StoreError, match=rf"expected a column {column} in layers"):
        diagnose(frame([1.0, 1.0]).drop(columns=column))


def test_what_is_not_read_may_be_missing():
    assert not diagnose(frame([1.0, 1.0])[[*LAYERS]], pd.DataFrame({"step": range(9)}))


def test_rows_of_several_runs_without_their_names_are_refused():
    layers = frame([1.0, 1.0])
    with pytest.raises(StoreError, match=r"step=0, axis=depth, position=1.* a column run"):
        diagnose(pd.concat([layers, layers]))
    with pytest.raises(StoreError, match="one row in steps for step=0"):
        diagnose(layers, pd.concat([RISING, SINKING]))
    runs = pd.concat([layers.assign(run="0"), layers.assign(run="1")])
    with pytest.raises(StoreError, match="expected a column run in steps"):
        diagnose(runs, RISING)


def test_networks_of_different_size_are_no_seeds_of_one_setting():
    small, deep = frame([1.0, 1.0]), frame([1e-9, 1.0, 1.0])
    wide = small.assign(weight_count=2)
    for other in (deep, wide):
        with pytest.raises(StoreError, match=r"different size.*run == '0'"):
            diagnose(pd.concat([small.assign(run="0"), other.assign(run="1")]))


def test_the_public_name_can_be_called_more_than_once():
    layers = frame([1e-5, 1e-2, 1.0])
    assert gradlab.diagnose(layers) == gradlab.diagnose(layers) == diagnose(layers)
