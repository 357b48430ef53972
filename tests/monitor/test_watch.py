"""`watch` does not change the training, removes its hooks, and reports its limits."""

import copy
import gc
import io
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

import gradlab
from gradlab.errors import StoreError, WatchError
from gradlab.results.nullable import numpy_floats
from tests.monitor.loops import batches, loss_of, mlp, train


def adamw(model):
    return torch.optim.AdamW(model.parameters(), 0.01)


LASTING = (torch.Tensor, list, dict, tuple)


class Everything(nn.Module):
    """Dropout, attention, recurrence, tied and shared modules, in-place steps, a checkpoint."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.attend = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.2, batch_first=True)
        self.recur = nn.LSTM(8, 8, batch_first=True)
        self.twice = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True))
        self.again = nn.Sequential(nn.Linear(8, 8), nn.SiLU(), nn.Dropout(0.1))
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        x = self.attend(self.embed(tokens))
        with torch.autocast("cpu", enabled=False):  # some CPUs have no LSTM in bfloat16
            x = self.recur(x.float())[0].flatten(0, 1)
        x = self.twice(self.twice(x)) + x
        x = x + checkpoint(self.again, x, use_reentrant=False)
        x = x + checkpoint(self.again, x, use_reentrant=True)
        return {"logits": self.head(x)}


def language(model, optimizer, *, clip=None, scaler=None, parts=1, autocast=False, steps=20):
    """Train with the usual extras, and return the losses."""
    torch.manual_seed(7)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        for _ in range(parts):
            tokens = torch.randint(11, (4, 6))
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                logits = model(tokens)["logits"].float()
            loss = nn.functional.cross_entropy(logits, tokens.flatten()) / parts
            (scaler.scale(loss) if scaler else loss).backward()
            losses.append(loss.item())
        if scaler:
            scaler.unscale_(optimizer)
        if clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer) if scaler else optimizer.step()
        if scaler:
            scaler.update()
    return losses


def everything():
    torch.manual_seed(0)
    return Everything()


@pytest.mark.parametrize(
    "extras",
    [{}, {"clip": 0.5}, {"parts": 3}, {"autocast": True}, {"scaler": 2.0**127, "clip": 1.0}],
    ids=str,
)
@pytest.mark.parametrize("every", [1, 7])
def test_training_is_the_same_to_the_last_bit(extras, every):
    plain, model = everything(), everything()
    options = [dict(extras), dict(extras)]
    if "scaler" in extras:  # so large that the first steps are skipped
        for each in options:
            each["scaler"] = torch.amp.GradScaler("cpu", init_scale=extras["scaler"])
    expected = language(plain, adamw(plain), **options[0])
    after = torch.get_rng_state()
    optimizer = adamw(model)
    with gradlab.watch(model, optimizer, every=every) as monitor:
        assert language(model, optimizer, **options[1]) == expected
    for a, b in zip(model.state_dict().values(), plain.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(after, torch.get_rng_state())
    assert any("skipped" in note for note in monitor.notes) == ("scaler" in extras)
    assert monitor.frame()["weight_grad_norm"].notna().all()
    assert monitor.frame()["delta_norm"].notna().mean() > 0.8


def test_compiled_training_is_the_same_to_the_last_bit():
    def run(watched):
        torch._dynamo.reset()
        model = mlp(dropout=0.3)
        called, optimizer = torch.compile(model, backend="aot_eager"), adamw(model)
        torch.manual_seed(5)
        if not watched:
            train(called, optimizer, batches(20))
            return model
        with pytest.warns(UserWarning, match="no signals"), gradlab.watch(called, optimizer):
            train(called, optimizer, batches(20))
        return model

    for a, b in zip(run(True).parameters(), run(False).parameters(), strict=True):
        assert torch.equal(a, b)


def state(model):
    """Return the number of entries of each dictionary in each module, as of hooks."""
    return [
        {name: len(value) if isinstance(value, dict) else None for name, value in vars(m).items()}
        for m in model.modules()
    ]


def functions():
    scaler = torch.amp.GradScaler
    clip = torch.nn.utils.clip_grad
    return [
        torch.autograd.backward,
        torch.nn.utils.clip_grad_norm_,
        torch.nn.utils.clip_grads_with_norm_,
        torch.nn.utils.clip_grad_value_,
        clip.clip_grad_norm_,
        clip.clip_grad_value_,
        clip._clip_grads_with_norm_,
        scaler.scale,
        scaler.step,
        scaler.unscale_,
    ]


def test_after_the_stop_hooks_and_functions_are_as_before():
    from torch.optim import optimizer as of_optimisers

    model, data = mlp(), batches(3)
    before, names, functions_before = state(model), list(model.state_dict()), functions()
    with gradlab.watch(model, optimizer := adamw(model)) as monitor:
        assert list(model.state_dict()) == names
        train(model, optimizer, data)
    assert monitor.notes == []
    assert state(model) == before
    assert functions() == functions_before
    assert not of_optimisers._global_optimizer_pre_hooks
    assert not of_optimisers._global_optimizer_post_hooks


def test_after_an_exception_in_the_loop_the_record_remains():
    model, data = mlp(), batches(3)
    before, optimizer = state(model), adamw(model)
    monitor = gradlab.watch(model, optimizer)

    def broken():
        with monitor:
            train(model, optimizer, data)
            loss_of(model, data[0]).backward()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert monitor.steps()["step"].tolist() == [0, 1, 2]
    assert state(model) == before
    with gradlab.watch(model, optimizer) as again:
        train(model, optimizer, data)
    assert len(again.steps()) == 3


def test_after_an_exception_inside_a_step_recording_continues():
    model, data = mlp(), batches(3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def broken():
        raise FloatingPointError

    with gradlab.watch(model, optimizer) as monitor:
        with pytest.raises(FloatingPointError):
            optimizer.step(broken)
        train(model, optimizer, data)
    assert monitor.steps()["step"].tolist() == [0, 1, 2]


def test_a_watched_model_can_be_copied_pickled_and_saved(tmp_path):
    model, data = everything(), [(torch.randint(11, (2, 3)),)]
    optimizer = adamw(model)
    with gradlab.watch(model, optimizer) as monitor:
        language(model, optimizer, steps=2)
        twin, loaded = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        torch.save(model, tmp_path / "model.pt")
        torch.save(model.state_dict(), tmp_path / "state.pt")
        copy.deepcopy(optimizer), pickle.dumps(optimizer)
        for other in (twin, loaded, torch.load(tmp_path / "model.pt", weights_only=False)):
            other(data[0][0])["logits"].sum().backward()  # is not recorded
        language(model, optimizer, steps=1)
    assert torch.load(tmp_path / "state.pt", weights_only=True).keys() == model.state_dict().keys()
    assert b"gradlab" not in pickle.dumps(mlp()) + (tmp_path / "model.pt").read_bytes()
    assert monitor.steps()["step"].tolist() == [0, 1, 2]


def test_two_monitors_of_one_model_are_refused():
    model, other = mlp(), mlp()
    with gradlab.watch(model, adamw(model)), gradlab.watch(other, adamw(other)):
        for part in (model, nn.Sequential(model), model[0]):
            with pytest.raises(WatchError, match="is already watched"), gradlab.watch(part):
                pass
    with gradlab.watch(model):
        pass


def test_two_watched_networks_have_separate_records():
    one, two, data = mlp(), nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3)), batches(4)
    one_optimizer, two_optimizer = adamw(one), adamw(two)
    with gradlab.watch(one, one_optimizer) as first:
        with gradlab.watch(two, two_optimizer) as second:
            for batch in data:
                train(one, one_optimizer, [batch])
                train(two, two_optimizer, [batch])
        train(one, one_optimizer, data)
    assert len(first.steps()) == 8
    assert len(second.steps()) == 4
    assert first.modules == ["0", "3", "5"]
    assert second.modules == ["0", "1"]


def unused(model):
    with gradlab.watch(model) as monitor:
        return monitor


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: gradlab.watch(m.parameters()), r"expected a torch.nn.Module"),
        (lambda m: gradlab.watch(m, m), r"expected a torch.optim.Optimizer, given Sequential"),
        (lambda m: gradlab.watch(m, adamw(mlp())), r"has none of them"),
        (lambda m: gradlab.watch(m, []), r"expected an optimiser, given an empty list"),
        (lambda m: gradlab.watch(nn.LazyLinear(3)), r"but weight is lazy; put one batch"),
        (lambda m: gradlab.watch(m, every=0), r"integer of at least 1, or \"log\", given 0"),
        (lambda m: gradlab.watch(m, every="linear"), r"given 'linear'"),
        (
            lambda m: gradlab.watch(m, modules="heads"),
            r"none matches 'heads'",
        ),
        (lambda m: gradlab.watch(nn.ReLU()), r"but it has none"),
        (lambda m: gradlab.watch(m).report("out"), r"put `with gradlab.watch"),
        (lambda m: gradlab.watch(m, sinks="out"), r"expected a sink .* but 'out' has no open"),
        (lambda m: gradlab.watch(m).diagnose(), r"put `with gradlab.watch"),
        (lambda m: unused(m).diagnose(), r"no step was recorded"),
    ],
)
def test_each_error_is_one_line(call, message):
    with pytest.raises(WatchError, match=message) as error:
        call(mlp())
    assert "\n" not in str(error.value)


def test_memory_grows_only_by_the_record():
    model, x = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)), torch.ones(1, 2)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()

    def alive():
        gc.collect()
        return sum(1 for each in gc.get_objects() if type(each) in LASTING)

    with gradlab.watch(model, optimizer, every="log") as monitor:
        run(200)
        before, records = alive(), len(monitor.steps())
        run(10_000)
        grown = alive() - before
    assert grown <= 40 * (len(monitor.steps()) - records)
    assert 35 < len(monitor.steps()) < 45


def test_a_record_contains_no_tensors():
    model, data = mlp(), batches(1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, data * 20)
        gc.collect()
        tensors = sum(1 for each in gc.get_objects() if type(each) is torch.Tensor)
        train(model, optimizer, data * 200)
        gc.collect()
        assert sum(1 for each in gc.get_objects() if type(each) is torch.Tensor) <= tensors
    assert len(monitor.frame()) == 3 * 220


def test_diagnosis_finds_the_cause_of_vanishing_gradients():
    torch.manual_seed(0)
    deep = [part for _ in range(12) for part in (nn.Linear(16, 16), nn.Sigmoid())]
    model = nn.Sequential(nn.Linear(6, 16), nn.Sigmoid(), *deep, nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, batches(10))
    first, *_ = monitor.diagnose()
    assert first.kind == "vanishing"
    assert "the activation's derivative" in first.cause
    assert first.remedies[0] == "torch.nn.init.kaiming_normal_(layer.weight)"
    healthy = mlp()
    with gradlab.watch(healthy, (o := torch.optim.SGD(healthy.parameters(), 0.1))) as monitor:
        train(healthy, o, batches(10))
    assert monitor.diagnose() == []


def test_relu_is_not_called_saturated():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 3))
    with torch.no_grad():
        model[0].bias -= 1.5
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with gradlab.watch(model, optimizer) as monitor:
        train(model, optimizer, batches(5, 64))
    assert monitor.frame()["saturated"].max() > 0.75
    assert "saturated" not in [finding.kind for finding in monitor.diagnose()]


def test_a_report_has_the_files_and_numbers_of_a_run(tmp_path):
    model, optimizer = (m := everything()), adamw(m)
    with gradlab.watch(model, optimizer) as monitor:
        language(model, optimizer, steps=3)
        monitor.report(tmp_path)
        assert gradlab.load(tmp_path).runs["status"].tolist() == ["running"]
    page = monitor.report(tmp_path).read_text(encoding="utf-8")  # replaces the first report
    assert "‖dLoss/dz‖" in page
    assert all(name in page for name in monitor.modules)
    frames = gradlab.load(tmp_path)
    assert frames.runs["status"].tolist() == ["completed"]
    loaded = frames.layers.drop(columns="run")
    np.testing.assert_array_equal(
        numpy_floats(loaded).select_dtypes("number"),
        numpy_floats(monitor.frame()).select_dtypes("number"),
    )
    assert loaded["module"].tolist() == monitor.frame()["module"].tolist()
    assert [f.kind for f in gradlab.diagnose(loaded)] == [f.kind for f in monitor.diagnose()]
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(StoreError, match="already holds a run"):
        monitor.report(tmp_path)


def test_without_training_there_are_no_rows():
    with gradlab.watch(mlp()) as monitor, warnings.catch_warnings():
        pass
    with pytest.raises(WatchError, match="no step was recorded"):
        monitor.diagnose()
    assert list(monitor.frame().columns)[:4] == ["step", "axis", "position", "module"]


def test_a_saved_model_does_not_mention_gradlab():
    model = mlp()
    with gradlab.watch(model):
        torch.save(model, buffer := io.BytesIO())
    assert b"gradlab" not in buffer.getvalue()
