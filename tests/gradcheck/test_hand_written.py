"""The check locates mistakes in hand-written backward passes, and accepts correct ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradlab.gradcheck.gradient_report import Options
from gradlab.gradcheck.hand_written import check_mutation, check_network, mutation_table
from gradlab.reference.activation_functions import ACTIVATIONS
from gradlab.reference.loss_functions import LOSSES
from gradlab.reference.mutations import MUTATIONS
from tests.reference.networks import batch, layers, numpy_loss


def test_there_are_enough_mistakes():
    assert len({m.name for m in MUTATIONS}) >= 12
    assert {m.enters for m in MUTATIONS} == {"dLoss/dA", "dZ", "dW", "db", "dA_prev"}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_each_mistake_is_located(mutation, seed):
    result = check_mutation(mutation, seed, Options())
    assert list(result.enters) == [result.expected]
    assert result.wrong


def test_two_mistakes_are_both_located():
    first, second = (
        next(m for m in MUTATIONS if m.name == n) for n in ("wrong sign", "forgotten phi'")
    )
    rng = np.random.default_rng(0)
    network = layers([6] * 6, "tanh", rng)
    X, Y = batch([6] * 6, 8, "cross_entropy", rng)

    def backward(layers, X, Y, loss):
        from gradlab.reference.dense import backward, forward, layer_backward

        caches = forward(layers, X)
        rules = [layer_backward] * 5
        rules[1], rules[3] = first.rule(layers, caches, 1), second.rule(layers, caches, 3)
        return backward(layers, caches, loss.derivative(caches[-1].A, Y), rules)

    report = check_network(network, X, Y, numpy_loss("cross_entropy"), Options(), backward)
    assert report.enters == ["layer 4: dZ", "layer 2: dW"]


def test_the_mutation_table_locates_all_mistakes():
    lines, all_located = mutation_table()
    assert all_located
    assert lines[-1] == f"{len(MUTATIONS)} of {len(MUTATIONS)} mistakes found where they are"


@settings(max_examples=200)
@given(
    st.lists(st.integers(1, 8), min_size=2, max_size=7),
    st.integers(1, 12),
    st.sampled_from(sorted(ACTIVATIONS)),
    st.sampled_from(sorted(LOSSES)),
    st.sampled_from([0.05, 0.6, 1.0, 1.4, 4.0, 20.0]),
    st.integers(0, 10**6),
)
def test_correct_networks_pass(widths, samples, phi, loss, gain, seed):
    widths = [*widths, max(widths[-1], 2)]
    rng = np.random.default_rng(seed)
    X, Y = batch(widths, samples, loss, rng)
    network = layers(widths, phi, rng, gain)
    report = check_network(network, X, Y, numpy_loss(loss), Options(seed=seed))
    assert report.passed, str(report)


def test_float32_layers_are_checked_in_float64():
    rng = np.random.default_rng(1)
    network = layers([4, 5, 3], "gelu", rng)
    narrow = [
        type(each)(each.W.astype(np.float32), each.b.astype(np.float32), each.phi)
        for each in network
    ]
    X, Y = batch([4, 5, 3], 6, "mse", rng)
    report = check_network(narrow, X.astype(np.float32), Y, numpy_loss("mse"), Options())
    assert report.passed
    assert max(row.median for row in report.rows) < 1e-7
