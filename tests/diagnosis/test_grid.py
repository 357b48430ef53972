"""A record laid out by step and layer, against a loop over its rows."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from gradlab.diagnosis.grid import Grid, first_lasting, median, relative, usual_positions

NORMS = st.sampled_from([0.0, 1e-8, 1.0, 3.0, np.inf, np.nan])
KEYS = st.tuples(st.integers(0, 5), st.integers(1, 4), st.sampled_from(["depth", "time"]))
ROWS = st.dictionaries(KEYS, NORMS, max_size=20)


def frame(rows):
    """The rows as a frame: (step, position, axis) -> norm."""
    records = [(*key, value) for key, value in rows.items()]
    return pd.DataFrame(records, columns=["step", "position", "axis", "delta_norm"])


@given(ROWS)
def test_a_grid_holds_each_row_over_depth_once_and_nothing_else(rows):
    grid = Grid(frame(rows))
    depth = {key[:2]: value for key, value in rows.items() if key[2] == "depth"}
    assert list(grid.steps) == sorted({step for step, _ in depth})
    assert list(grid.positions) == sorted({position for _, position in depth})
    expected = [[depth.get((s, p), np.nan) for p in grid.positions] for s in grid.steps]
    table = np.reshape(expected, (len(grid.steps), len(grid.positions)))
    np.testing.assert_array_equal(grid["delta_norm"], table)


@given(ROWS)
def test_rows_that_do_not_count_leave_no_step_and_no_layer(rows):
    layers = frame(rows)
    counted = layers["delta_norm"].notna().to_numpy(dtype=bool)
    some, alone = Grid(layers, counted), Grid(layers[counted])
    np.testing.assert_array_equal(some.steps, alone.steps)
    np.testing.assert_array_equal(some["delta_norm"], alone["delta_norm"])


@given(st.lists(NORMS))
def test_the_median_is_that_of_pandas(values):
    expected = pd.Series(values, dtype=float).median()
    np.testing.assert_equal(median(np.array(values)), expected)


def test_a_factor_on_the_loss_cancels():
    table = np.array([[1e-4, 0.0, 1.0], [np.nan, np.inf, 2.0]])
    expected = [[-4, -np.inf, 0], [np.nan, np.inf, 0]]
    for scale in (1.0, 1e-9):
        np.testing.assert_allclose(relative(scale * table), expected)


def test_a_condition_counts_from_its_first_step_if_it_holds_in_most_of_the_later_half():
    assert first_lasting([False, True, False, True], [0, 10, 20, 30]) == 10
    assert first_lasting([True, True, False, False], [0, 10, 20, 30]) is None
    assert first_lasting([], []) is None
    holds = np.array([[True, True], [False, True], [False, False]])
    assert usual_positions(holds, np.array([1, 2])) == (1, 2)
    assert usual_positions(holds[1:], np.array([1, 2])) == (2,)
