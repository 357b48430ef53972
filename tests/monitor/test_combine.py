"""The numbers of any parts of a batch combine to the numbers of the whole batch."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlab.monitor.combine import CALL_COLUMNS, combine_calls
from gradlab.recording.columns import is_null
from gradlab.recording.rows import NULL

K = {name: k for k, name in enumerate(CALL_COLUMNS)}


def row(z, grad):
    out = torch.full((len(CALL_COLUMNS),), NULL, dtype=torch.float64)
    out[K["preact_count"]] = out[K["act_count"]] = len(z)
    out[K["preact_mean"]] = out[K["act_mean"]] = z.mean()
    out[K["preact_std"]] = out[K["act_std"]] = z.std(correction=0)
    out[K["saturated"]] = (z > 0).double().mean()
    out[K["delta"]] = grad.norm()
    return out


@given(
    st.lists(st.integers(1, 5), min_size=1, max_size=6),
    st.floats(-1e6, 1e6),
    st.integers(0, 1000),
)
def test_the_parts_of_a_batch_combine_to_the_whole_batch(sizes, offset, seed):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(sum(sizes), generator=generator, dtype=torch.float64) + offset
    grad = torch.randn(sum(sizes), generator=generator, dtype=torch.float64) * 1e-200
    parts = [row(a, g) for a, g in zip(z.split(sizes), grad.split(sizes), strict=True)]
    combined, expected = combine_calls(torch.stack(parts)), row(z, grad)
    torch.testing.assert_close(combined, expected, rtol=1e-9, atol=1e-9, equal_nan=True)
    assert float(combined[K["delta"]]) == pytest.approx(
        float(grad.norm() * 1e100) / 1e100, rel=1e-9
    )


def test_a_part_without_numbers_is_ignored():
    one = row(torch.tensor([1.0, 3.0]).double(), torch.ones(2).double())
    empty = torch.full_like(one, NULL)
    torch.testing.assert_close(combine_calls(torch.stack([empty, one])), one, equal_nan=True)
    assert is_null(combine_calls(torch.stack([empty, empty]))).all()
