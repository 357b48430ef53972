"""Norms agree with exact arithmetic over the whole range of each dtype."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradlab.recording.norms import joint_norm, matrix_norm, matrix_sum, norm

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def exact(values) -> float:
    """Return the norm by rational arithmetic, which does not round the sum; inf from 1e308."""
    total = sum(Fraction(v) ** 2 for v in values)
    if not total:
        return 0.0
    if total >= 10**616:
        return math.inf
    # Scale by a power of 4 so that the square root is taken of a number near 1.
    power = (total.numerator.bit_length() - total.denominator.bit_length()) // 2
    return math.ldexp(math.sqrt(total / Fraction(4) ** power), power)


@given(st.data(), st.sampled_from(DTYPES))
def test_norm_equals_exact_arithmetic(data, dtype):
    width = {torch.float16: 16, torch.bfloat16: 32, torch.float32: 32, torch.float64: 64}[dtype]
    finite = st.floats(width=width, allow_nan=False, allow_infinity=False)
    x = torch.tensor(data.draw(st.lists(finite, min_size=1, max_size=20)), dtype=torch.float64)
    x = x.to(dtype)
    x = torch.where(x.isfinite(), x, 1.0)
    expected = exact(x.double().tolist())
    if expected < 1e308:
        assert float(norm(x, -1)) == pytest.approx(expected, rel=1e-14, abs=5e-324)


@pytest.mark.parametrize("entry", [1e-25, 1e25])
def test_norm_is_right_where_torchs_norm_is_0_or_inf(entry):
    x = torch.full((1000,), entry)
    assert float(torch.linalg.vector_norm(x)) in (0.0, math.inf)
    assert float(norm(x, -1)) == pytest.approx(entry * math.sqrt(1000), rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_of_the_smallest_and_the_largest_number_of_a_dtype(dtype):
    info = torch.finfo(dtype)
    least = info.smallest_normal * info.eps  # subnormal
    for value in (least, info.smallest_normal, info.max):
        x = torch.tensor([value], dtype=dtype)
        assert float(norm(x, -1)) == float(x.double())


def test_float64_entries_of_1e300_and_1e_minus_300():
    for entry in (1e-300, 1e300):
        x = torch.full((3, 4), entry, dtype=torch.float64)
        assert float(norm(x, (-2, -1))) == pytest.approx(entry * math.sqrt(12), rel=1e-15)


@given(st.integers(-1000, 960))
def test_a_power_of_two_scales_the_norm_exactly(power):
    x = torch.tensor([[0.3, -0.7, 1.9], [0.0, 0.25, 1e-3]], dtype=torch.float64)
    scale = 2.0**power
    assert torch.equal(norm(x * scale, -1), norm(x, -1) * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_inf_and_nan_are_preserved_and_the_norm_of_zeros_is_zero(dtype):
    rows = [[math.inf, 1.0], [-math.inf, 1.0], [math.nan, 1.0], [math.nan, math.inf], [0.0, 0.0]]
    found = norm(torch.tensor(rows, dtype=dtype), -1)
    assert found[:2].tolist() == [math.inf, math.inf]
    assert found[2:4].isnan().all()
    assert found[4] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes(dtype):
    x = torch.randn(2, 3, 4, 5, dtype=dtype)
    assert norm(x, (-2, -1)).shape == (2, 3)
    assert norm(x, -1).shape == (2, 3, 4)
    assert norm(x[..., :0], -1).tolist() == torch.zeros(2, 3, 4).tolist()
    torch.testing.assert_close(norm(x, (0, 3)), x.double().square().sum((0, 3)).sqrt())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("power", [-40, -25, -13, 0, 3, 14, 16, 36])
def test_matrix_norm_equals_norm_in_six_digits(dtype, power):
    x = torch.randn(3, 40, 700, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (x * 10.0**power * torch.logspace(-12, 0, 700, dtype=torch.float64)).to(dtype)
    torch.testing.assert_close(matrix_norm(x), norm(x, (-2, -1)), rtol=1e-6, atol=0.0)


def test_matrix_norm_of_members_of_very_different_sizes():
    sizes = torch.tensor([1e-30, 0.0, 1.0, 1e30, math.inf, math.nan])
    found = matrix_norm(sizes[:, None, None].expand(6, 5, 5))
    torch.testing.assert_close(found, 5 * sizes.double(), rtol=1e-6, atol=0.0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1e-13, 1.0, 1e25])
def test_joint_norm_covers_all_entries_of_a_member(dtype, scale):
    generator = torch.Generator().manual_seed(1)
    shapes = [(3, 5000), (3, 40, 70), (3, 7), (3, 64, 64)]
    sizes = torch.tensor([1.0, 1e-3, 0.0], dtype=torch.float64) * scale
    parts = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
    parts = [(x * sizes.view(3, *[1] * (x.ndim - 1))).to(dtype) for x in parts]
    whole = torch.cat([x.flatten(1) for x in parts], dim=1)
    torch.testing.assert_close(joint_norm(parts), norm(whole, -1), rtol=1e-6, atol=0.0)


def test_joint_norm_preserves_inf_and_nan():
    parts = [torch.ones(3, 4, 4), torch.tensor([[1.0], [math.inf], [math.nan]])]
    found = joint_norm(parts)
    assert found[0] == pytest.approx(math.sqrt(17))
    assert found[1] == math.inf
    assert found[2].isnan()


def test_a_transposed_layout_has_the_same_norm_and_sum():
    x = torch.randn(2, 3, 5, 7)
    transposed = x.mT.contiguous().mT
    torch.testing.assert_close(matrix_norm(transposed), matrix_norm(x))
    torch.testing.assert_close(
        matrix_sum(transposed), x.double().sum((-2, -1)), rtol=1e-5, atol=1e-5
    )
