"""`on_spike="skip"` leaves out the updates of planted spikes, and changes nothing else."""

import copy

import pytest
import torch
from torch import nn

import gradlab
from gradlab.errors import WatchError


def train(on_spike=None, bad_steps=(), optimizer=torch.optim.Adam, leave_out=(), steps=120):
    """Train; the batches of `bad_steps` are 1e4 times as large; `leave_out` makes no update."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
    optimiser = optimizer(model.parameters(), lr=0.01, weight_decay=0.1)
    with gradlab.watch(model, optimiser, on_spike=on_spike) as monitor:
        for step in range(steps):
            x = torch.randn(32, 6)
            y = x.sum(1, keepdim=True) * (1e4 if step in bad_steps else 1)
            optimiser.zero_grad()
            (model(x) - y).square().mean().backward()
            if step not in leave_out:
                optimiser.step()
    return monitor, copy.deepcopy(model.state_dict())


def assert_equal(first, second):
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_a_skipped_update_equals_no_update(optimizer):
    monitor, weights = train("skip", bad_steps=(70, 90), optimizer=optimizer)
    assert monitor.notes == ['on_spike="skip" left out the updates of 2 steps: 70, 90']
    assert monitor.frame().query("step == 70")["update_ratio"].eq(0).all()
    _, expected = train(bad_steps=(70, 90), optimizer=optimizer, leave_out=(70, 90))
    assert_equal(weights, expected)


def test_training_without_spikes_is_unchanged():
    monitor, weights = train("skip")
    assert monitor.notes == []
    assert_equal(weights, train()[1])


def test_without_the_option_a_spike_is_trained_on():
    monitor, weights = train(bad_steps=(70,))
    assert not any("left out" in note for note in monitor.notes)
    assert not torch.equal(weights["0.weight"], train("skip", bad_steps=(70,))[1]["0.weight"])


def test_a_loss_that_rises_for_good_is_trained_on_after_half_a_window():
    monitor, _ = train("skip", bad_steps=range(60, 400), steps=300)
    (note,) = [note for note in monitor.notes if "left out" in note]
    assert int(note.split("updates of ")[1].split()[0]) < 130


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on_spike": "stop"}, 'expected on_spike to be "skip" or None'),
        ({"on_spike": "skip", "every": 10}, 'expected every=1 with on_spike="skip"'),
    ],
)
def test_wrong_options_are_refused(options, words):
    model = nn.Linear(2, 1)
    with pytest.raises(WatchError, match=words):
        gradlab.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)
