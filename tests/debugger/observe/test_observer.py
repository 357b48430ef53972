"""The events that the observer records, and their order."""

import torch
import torch.nn.functional as F
from torch import nn

from gradlab.debugger.observe.events import (
    BackwardPass,
    GradientClip,
    GraphExit,
    InPlaceChange,
    LossCall,
    ModelInput,
    OptimizerStep,
)
from gradlab.debugger.observe.module_calls import Intervention
from gradlab.debugger.trainings import ScriptTraining, StepTraining, list_batches
from tests.debugger.correct import blobs, mlp, quickstart


class Noisy(torch.optim.SGD):
    """Takes values out of the graph inside its step."""

    @torch.enable_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                (p * 1).detach().add_(1)
                (p * 1).sum().item()
        return super().step(closure)


def step(model, optimizer, batch):
    x, y = batch
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def trace(steps=3, optimizer=Noisy, **options):
    torch.manual_seed(0)
    model = mlp(10, 16, 3)
    return StepTraining(step, model, optimizer(model.parameters(), lr=0.1), blobs()).run(
        steps, **options
    )


def test_events_are_in_the_order_of_the_code():
    kinds = [
        type(e)
        for e in trace().events
        if isinstance(e, LossCall | BackwardPass | GradientClip | OptimizerStep)
    ]
    assert kinds == [LossCall, BackwardPass, GradientClip, OptimizerStep] * 3
    assert [e.step for e in trace().all(OptimizerStep)] == [0, 1, 2]


def test_operations_inside_an_optimiser_are_not_recorded():
    assert not trace().all(GraphExit)
    assert not trace().all(InPlaceChange)


def test_the_line_of_an_event_is_in_the_users_file():
    first = trace().all(BackwardPass)[0].line
    assert first.file == __file__
    assert first.code == "loss.backward()"


def with_closure(model, optimizer, batch):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        return loss

    optimizer.step(closure)


def test_the_lines_of_a_closure_include_its_caller():
    model = mlp(10, 16, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = StepTraining(with_closure, model, optimizer, blobs()).run(1).all(BackwardPass)[0]
    assert [line.code for line in first.lines] == ["loss.backward()", "optimizer.step(closure)"]


def test_an_experiment_changes_only_the_rate():
    whole, tenth = (
        trace().all(OptimizerStep),
        trace(intervention=Intervention(lr=0.1)).all(OptimizerStep),
    )
    assert [*tenth[0].before.values()] == [*whole[0].before.values()]
    assert abs(tenth[0].distance - 0.1 * whole[0].distance) < 1e-6 * whole[0].distance
    assert tenth[2].lr == whole[2].lr == 0.1


def test_an_experiment_standardises_the_inputs_of_the_model():
    class Picky(nn.Linear):
        def forward(self, x):
            assert torch.allclose(x.mean(0), torch.zeros(10), atol=1e-5)
            assert torch.allclose(x.std(0), torch.ones(10), atol=1e-5)
            return super().forward(x)

    model = Picky(10, 3)
    x, y = blobs()
    training = StepTraining(
        step, model, torch.optim.SGD(model.parameters(), lr=0.1), (100 * x + 50, y)
    )
    standardised = training.run(1, Intervention(standardised=True))
    assert standardised.all(ModelInput)[0].rms > 50
    assert standardised.error is None
    assert training.run(1).error is not None


def test_an_experiment_shrinks_large_weights():
    def gains(intervention):
        model = mlp(10, 16, 3)
        with torch.no_grad():
            model[0].weight.mul_(100)
        unchanged = model[2].weight.clone()
        training = StepTraining(step, model, torch.optim.SGD(model.parameters(), lr=0.1), blobs())
        seen = training.run(1, intervention)
        assert torch.equal(model[2].weight, unchanged)
        return [round(each.gain, 3) for each in seen.events if hasattr(each, "gain")]

    (before, second), (after, same) = gains(None), gains(Intervention(gain=1.4))
    assert before > 50
    assert after == 1.4
    assert abs(same - second) < 1


def test_a_batch_is_repeated():
    x, y = blobs()
    model = mlp(10, 3)
    training = StepTraining(
        step, model, torch.optim.SGD(model.parameters(), lr=0.1), {"x": x, "y": y}
    )
    training.step = lambda m, o, batch: step(m, o, (batch["x"], batch["y"]))
    assert training.run_repeated(2).all(LossCall)[0].shapes[0] == (512, 3)
    ragged = StepTraining(step, model, training.optimizer, (x, y[:5]))
    assert ragged.run_repeated(2) is None


def test_a_script_is_stopped_after_enough_steps():
    assert ScriptTraining(quickstart).run(4).steps == 4


def test_one_batch_and_several_batches_are_distinguished():
    x, y = blobs(4)
    for one in ((x, y), [x, y], {"x": x}, x):
        assert list_batches(one) == [one] or list_batches(one)[0] is one
    for many in ([(x, y), (x, y)], ((x, y) for _ in range(2)), [{"x": x}, {"x": x}]):
        assert len(list_batches(many)) == 2
