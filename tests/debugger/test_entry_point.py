"""Loading a training: a function that trains, or a function that returns a step."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from gradlab.debugger.entry_point import load_training
from gradlab.debugger.examine import examine
from gradlab.debugger.trainings import ScriptTraining, StepTraining
from gradlab.errors import ExaminationError
from tests.debugger.correct import blobs, mlp


def trained(updates=5):
    """Train without clearing gradients, and yield model and optimiser."""
    x, y = blobs()
    model = mlp(10, 16, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(updates):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        yield model, optimizer


def step(model, optimizer, batch):
    x, y = batch
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def kinds(function):
    training, trace = load_training(function)
    return type(training), [each.kind for each in examine(training, trace)]


def returns_a_trainer():
    *_, (model, optimizer) = trained()
    return SimpleNamespace(step=5, model=model, optimizer=optimizer)


def returns_four_things():
    *_, (model, optimizer) = trained()
    return model, optimizer, [0.5], 0.9


async def in_a_coroutine():
    for _ in trained(30):
        pass


def generates():
    for _ in trained(30):
        yield 0.5


def exits():
    [*trained()]
    raise SystemExit(1)


def complains_of_being_stopped():
    try:
        [*trained(30)]
    except BaseException as error:
        raise RuntimeError("the training was stopped") from error


def never(graph, inputs):
    raise AssertionError("compiled")


def compiled():
    x, y = blobs()
    model = mlp(10, 16, 3)
    run = torch.compile(model, backend=never)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(30):
        F.cross_entropy(torch.softmax(run(x), 1), y).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize(
    "function",
    [
        returns_a_trainer, returns_four_things, in_a_coroutine, generates, exits,
        complains_of_being_stopped,
    ],
)  # fmt: skip
def test_a_function_that_trains_is_examined(function):
    assert kinds(function) == (ScriptTraining, ["no_zero_grad"])


def test_a_compiled_model_is_observed():
    assert kinds(compiled) == (ScriptTraining, ["softmax_before_cross_entropy"])


@pytest.mark.parametrize("is_tuple", [True, False])
@pytest.mark.parametrize("name", ["batch", "batches"])
def test_a_function_that_returns_a_step_is_examined(is_tuple, name):
    model = mlp(10, 16, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parts = SimpleNamespace(step=step, model=model, optimizer=optimizer, **{name: blobs()})
    whole = (step, model, optimizer, blobs())
    assert kinds(lambda: whole if is_tuple else parts) == (StepTraining, ["no_zero_grad"])


def test_a_program_that_ends_without_an_update_is_an_error():
    def ends():
        raise SystemExit(2)

    with pytest.raises(ExaminationError, match="before its first update; its command line"):
        load_training(ends)
