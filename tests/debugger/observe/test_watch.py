"""The observation itself: what is noted of a training, in which order, and what is not."""

import torch
import torch.nn.functional as F
from torch import nn

from gradlab.debugger.observe.module_calls import Change
from gradlab.debugger.observe.trace import Backward, Clip, Cut, Fed, InPlace, Loss, Update
from gradlab.debugger.targets.batches import batches
from gradlab.debugger.targets.script import Script
from gradlab.debugger.targets.step import Given
from tests.debugger.right import blobs, mlp, quickstart


class Noisy(torch.optim.SGD):
    """Does in its own step what would matter in the user's."""

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


def trace(updates=3, optimizer=Noisy, **how):
    torch.manual_seed(0)
    model = mlp(10, 16, 3)
    return Given(step, model, optimizer(model.parameters(), lr=0.1), blobs()).run(updates, **how)


def test_events_are_in_the_order_of_the_code():
    kinds = [type(e) for e in trace().events if isinstance(e, Loss | Backward | Clip | Update)]
    assert kinds == [Loss, Backward, Clip, Update] * 3
    assert [e.update for e in trace().all(Update)] == [0, 1, 2]


def test_what_an_optimiser_does_is_not_the_users():
    assert not trace().all(Cut)
    assert not trace().all(InPlace)


def test_places_are_lines_of_this_file():
    first = trace().all(Backward)[0].place
    assert first.file == __file__
    assert first.code == "loss.backward()"


def with_closure(model, optimizer, batch):
    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        return loss

    optimizer.step(closure)


def test_a_closure_is_called_by_the_users_line():
    model = mlp(10, 16, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = Given(with_closure, model, optimizer, blobs()).run(1).all(Backward)[0]
    assert [place.code for place in first.trail] == ["loss.backward()", "optimizer.step(closure)"]


def test_a_trial_changes_the_rate_and_nothing_else():
    whole, tenth = trace().all(Update), trace(change=Change(lr=0.1)).all(Update)
    assert [*tenth[0].before.values()] == [*whole[0].before.values()]
    assert abs(tenth[0].moved - 0.1 * whole[0].moved) < 1e-6 * whole[0].moved
    assert tenth[2].lr == whole[2].lr == 0.1


def test_a_trial_standardises_what_the_model_is_fed():
    class Picky(nn.Linear):
        def forward(self, x):
            assert torch.allclose(x.mean(0), torch.zeros(10), atol=1e-5)
            assert torch.allclose(x.std(0), torch.ones(10), atol=1e-5)
            return super().forward(x)

    model = Picky(10, 3)
    x, y = blobs()
    given = Given(step, model, torch.optim.SGD(model.parameters(), lr=0.1), (100 * x + 50, y))
    trial = given.run(1, Change(standardised=True))
    assert trial.all(Fed)[0].rms > 50
    assert trial.failure is None
    assert given.run(1).failure is not None


def test_a_trial_shrinks_large_weights():
    def gains(change):
        model = mlp(10, 16, 3)
        with torch.no_grad():
            model[0].weight.mul_(100)
        kept = model[2].weight.clone()
        given = Given(step, model, torch.optim.SGD(model.parameters(), lr=0.1), blobs())
        seen = given.run(1, change)
        assert torch.equal(model[2].weight, kept)
        return [round(each.gain, 3) for each in seen.events if hasattr(each, "gain")]

    (before, second), (after, same) = gains(None), gains(Change(gain=1.4))
    assert before > 50
    assert after == 1.4
    assert abs(same - second) < 1


def test_twice_the_batch():
    x, y = blobs()
    model = mlp(10, 3)
    given = Given(step, model, torch.optim.SGD(model.parameters(), lr=0.1), {"x": x, "y": y})
    given.step = lambda m, o, batch: step(m, o, (batch["x"], batch["y"]))
    assert given.doubled(2).all(Loss)[0].shapes[0] == (512, 3)
    ragged = Given(step, model, given.optimizer, (x, y[:5]))
    assert ragged.doubled(2) is None


def test_a_function_is_stopped():
    assert Script(quickstart).run(4).updates == 4


def test_one_batch_or_many():
    x, y = blobs(4)
    for one in ((x, y), [x, y], {"x": x}, x):
        assert batches(one) == [one] or batches(one)[0] is one
    for many in ([(x, y), (x, y)], ((x, y) for _ in range(2)), [{"x": x}, {"x": x}]):
        assert len(batches(many)) == 2
