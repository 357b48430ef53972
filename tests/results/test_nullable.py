"""Null and NaN differ in frames."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from gradlab.results.nullable import FLOAT, from_arrow, numpy_floats, values_and_mask


@given(st.lists(st.none() | st.floats(), max_size=20))
def test_null_nan_and_inf_survive_a_round_trip_through_parquet(values):
    table = pa.table({"x": pa.array(values, pa.float64())})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    found, null = values_and_mask(from_arrow(pq.read_table(pa.BufferReader(sink.getvalue()))), "x")
    assert null.tolist() == [value is None for value in values]
    expected = [math.nan if value is None else value for value in values]
    np.testing.assert_array_equal(found, np.array(expected, dtype=float))


def test_a_numpy_column_has_no_nulls():
    values, null = values_and_mask(pd.DataFrame({"x": [1.0, math.nan]}), "x")
    np.testing.assert_array_equal(values, [1.0, math.nan])
    assert not null.any()


def test_an_integer_column_is_converted():
    values, null = values_and_mask(pd.DataFrame({"x": [1, 2]}), "x")
    assert values.tolist() == [1.0, 2.0]
    assert not null.any()


def test_numpy_floats_converts_only_float_columns():
    table = pa.table({"step": pa.array([0, 1], pa.int32()), "x": [None, 1.0], "module": ["a", "b"]})
    frame = from_arrow(table)
    assert frame["x"].dtype == FLOAT
    plain = numpy_floats(frame)
    assert plain["x"].dtype == np.float64
    assert math.isnan(plain["x"][0])
    assert plain["step"].dtype == np.int32
    assert plain["module"].tolist() == ["a", "b"]
