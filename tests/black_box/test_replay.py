"""The repeated steps have the recorded bits, in a new process too, and name the fault."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import gradlab
from gradlab.cli.main import main
from gradlab.debugger.repeated_steps import bits
from tests.black_box import programs

PROGRAMS = Path(programs.__file__)


def train(name, folder, steps=60, **options):
    """Train until the loss is NaN; return all losses and the monitor."""
    torch.manual_seed(3)
    make = getattr(programs, name)
    step, model, optimizer, batch = make()
    losses = []
    original = torch.autograd.backward

    def backward(tensors, *args, **kwargs):
        losses.append(
            tensors.detach() if isinstance(tensors, torch.Tensor) else tensors[0].detach()
        )
        return original(tensors, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.autograd, "backward", backward)
        box = None if folder is None else gradlab.BlackBox(folder, **options)
        with gradlab.watch(model, optimizer, black_box=box) as monitor:
            for number in range(steps):
                torch.rand(3)  # the loop uses random numbers between the steps
                step(model, optimizer, programs.spoil(name, batch, number))
                if not losses[-1].isfinite():
                    break
    return losses, monitor, model


@pytest.mark.parametrize("name", ["mlp", "transformer", "accumulation"])
def test_the_repetition_has_the_recorded_bits(name, tmp_path):
    folder = tmp_path / "box"
    losses, monitor, _ = train(name, folder)
    assert len(losses) == (programs.BAD_STEP + 1) * (3 if name == "accumulation" else 1)
    repeated = gradlab.replay(folder, getattr(programs, name))
    assert repeated.is_exact, str(repeated)
    assert repeated.first == 40
    found = [each for each in repeated.compared if each.name == "loss"]
    assert bits(found[-1].repeated) == bits(losses[-1])
    assert repeated.fault is not None
    assert repeated.fault.step == programs.BAD_STEP
    assert repeated.fault.operation == monitor._guard.faults[0].operation


def test_a_new_process_prints_the_same_loss_bits_and_the_operation(tmp_path):
    folder = tmp_path / "box"
    losses, _, _ = train("mlp", folder)
    command = [sys.executable, "-m", "gradlab", "replay", str(folder), f"{PROGRAMS}:mlp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert f"step 41: loss nan (bits {bits(losses[-1])}), equal to the recorded one" in done.stdout
    assert "losses and gradient norms have the recorded bits" in done.stdout
    assert "step 41: `linear` at" in done.stdout
    (marked,) = [line for line in done.stdout.splitlines() if line.startswith(">")]
    assert "linear" in marked
    assert "float32 [8, 6]" in marked


@pytest.mark.parametrize("name", ["mlp", "accumulation"])
def test_the_training_has_the_same_bits_with_and_without_a_black_box(name, tmp_path):
    plain, _, model = train(name, None, 25)
    boxed, _, same = train(name, tmp_path / "box", 25, every=4)
    assert [bits(x) for x in plain] == [bits(x) for x in boxed]
    for a, b in zip(model.state_dict().values(), same.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not (tmp_path / "box").exists()  # nothing was found


def linear(batches, folder, error_at=None, **options):
    """Train a linear map on batches; return the monitor."""
    torch.manual_seed(0)
    step, model, optimizer, _ = make_linear()
    with gradlab.watch(model, optimizer, black_box=gradlab.BlackBox(folder, **options)) as monitor:
        for number, batch in enumerate(batches):
            if number == error_at:
                raise ValueError("the loop failed")
            step(model, optimizer, batch)
    return monitor


def make_linear():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 1))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)

    def step(model, optimizer, batch):
        optimizer.zero_grad()
        F.mse_loss(model(batch), torch.ones(4, 1)).backward()
        optimizer.step()

    return step, model, optimizer, torch.ones(4, 3)


def drawn(number, bad):
    generator = torch.Generator().manual_seed(1)
    batches = [torch.randn(4, 3, generator=generator) for _ in range(number)]
    batches[bad] = batches[bad] * 1e30
    return batches


def test_a_reused_buffer_is_copied_from_the_second_step_on(tmp_path):
    buffer = torch.empty(4, 3)
    monitor = linear((buffer.copy_(batch) for batch in drawn(9, 7)), tmp_path / "box")
    repeated = gradlab.replay(tmp_path / "box", make_linear)
    assert repeated.is_exact
    assert repeated.fault.step == monitor._guard.faults[0].step == 7
    assert repeated.first == 2
    assert not repeated.notes


def test_a_change_in_place_that_comes_too_late_is_named_and_is_not_exact(tmp_path):
    batch, _ = drawn(2, 1)
    step, model, optimizer, _ = make_linear()
    monitor = gradlab.watch(model, optimizer, black_box=tmp_path / "box")
    monitor.start()
    step(model, optimizer, batch)
    batch.zero_()
    monitor.__exit__(ValueError, ValueError("the loop failed"), None)
    repeated = gradlab.replay(tmp_path / "box", make_linear)
    assert not repeated.is_exact
    assert repeated.notes[0] == (
        "not stored: step 0['calls'][0]['args'][0] was changed in place after the call"
    )
    assert "the repetition is not exact" in str(repeated)
    assert re.search("loss .* but the recorded one is .* [(]bits [0-9a-f]{8}[)]", str(repeated))


def test_an_exception_in_the_loop_writes_the_steps(tmp_path):
    with pytest.raises(ValueError, match="the loop failed"):
        linear(drawn(9, 8), tmp_path / "box", error_at=5)
    content = json.loads((tmp_path / "box" / "black_box.json").read_text())
    assert content["error"] == "ValueError: the loop failed"
    repeated = gradlab.replay(tmp_path / "box", make_linear)
    assert repeated.is_exact
    assert repeated.fault is None
    assert [each.step for each in repeated.compared if each.name == "loss"] == [0, 1, 2, 3, 4]


def test_random_numbers_of_numpy_and_python_are_repeated(tmp_path):
    class Noise(nn.Module):
        def forward(self, x):
            return x * float(np.random.rand()) + random.random()

    def make():
        model = nn.Sequential(nn.Linear(3, 4), Noise(), nn.Linear(4, 1))
        step, _, _, batch = make_linear()
        return step, model, torch.optim.SGD(model.parameters(), 0.1), batch

    step, model, optimizer, _ = make()
    with gradlab.watch(model, optimizer, black_box=tmp_path / "box"):
        for batch in drawn(6, 5):
            step(model, optimizer, batch)
    assert gradlab.replay(tmp_path / "box", make).is_exact


def test_a_learning_rate_schedule_is_repeated(tmp_path):
    step, model, optimizer, _ = make_linear()
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    with gradlab.watch(model, optimizer, black_box=tmp_path / "box"):
        for batch in drawn(6, 5):
            step(model, optimizer, batch)
            schedule.step()
    assert gradlab.replay(tmp_path / "box", make_linear).is_exact


def test_an_object_that_cannot_be_stored_is_named(tmp_path):
    class Batch:
        def __init__(self, x):
            self.x = x

    class Model(nn.Linear):
        def forward(self, batch):
            return super().forward(batch.x)

    def make():
        model = Model(3, 1)
        step, _, _, _ = make_linear()
        return step, model, torch.optim.SGD(model.parameters(), 0.1), [Batch(torch.ones(4, 3))]

    step, model, optimizer, _ = make()
    with gradlab.watch(model, optimizer, black_box=tmp_path / "box"):
        step(model, optimizer, Batch(torch.full((4, 3), 1e30)))
    repeated = gradlab.replay(tmp_path / "box", make)
    assert "is of the class Batch" in repeated.notes[0]
    assert not repeated.is_exact


def test_the_limit_leaves_out_parts_and_names_them(tmp_path):
    linear(drawn(9, 7), tmp_path / "box", limit=20_000)
    content = json.loads((tmp_path / "box" / "black_box.json").read_text())
    assert content["left_out"][-1].startswith("step 7 (")
    assert sum(each.stat().st_size for each in (tmp_path / "box").iterdir()) < 60_000
    with pytest.raises(gradlab.GradlabError, match=r"lacks .*step 7 .*limit"):
        gradlab.replay(tmp_path / "box", make_linear)


def test_another_model_and_another_program_are_one_line(tmp_path):
    linear(drawn(3, 2), tmp_path / "box")

    def wider():
        step, _, _, batch = make_linear()
        model = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5), nn.Linear(5, 1))
        return step, model, torch.optim.SGD(model.parameters(), 0.1), batch

    with pytest.raises(gradlab.GradlabError, match=r"expected `0.weight` to be .*\[4, 3\]"):
        gradlab.replay(tmp_path / "box", wider)

    def other_loss():
        _, model, optimizer, batch = make_linear()
        return (
            lambda m, o, x: F.l1_loss(m(x), torch.ones(4, 1)).backward(), model, optimizer, batch
        )  # fmt: skip

    with pytest.raises(gradlab.GradlabError, match=r"to be `mse_loss` .* calls `l1_loss`"):
        gradlab.replay(tmp_path / "box", other_loss)
    with pytest.raises(gradlab.GradlabError, match=r"expected the function to return \(step"):
        gradlab.replay(tmp_path / "box", lambda: None)


def replay_command(folder, capsys):
    code = main(["replay", str(folder), f"{PROGRAMS}:mlp"])
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1
    assert "Traceback" not in shown.err
    return code, shown.err


@pytest.mark.parametrize("name", ["black_box.json", "tensors.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "short", "link", "pipe", "other"])
def test_a_damaged_folder_is_one_line(name, damage, tmp_path, capsys):
    linear(drawn(3, 2), tmp_path / "box")
    file = tmp_path / "box" / name
    content = file.read_bytes()
    file.unlink()
    if damage == "short":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "link":
        (tmp_path / "elsewhere").write_bytes(content)
        file.symlink_to(tmp_path / "elsewhere")
    elif damage == "pipe":
        os.mkfifo(file)
    elif damage == "other":
        file.write_text('{"format": 1, "step": "x"}')
    assert replay_command(tmp_path / "box", capsys)[0] == 2


@pytest.mark.parametrize("seed", range(3))
def test_changed_values_in_the_json_are_at_most_one_line(seed, tmp_path, capsys):
    linear(drawn(3, 2), tmp_path / "box")
    file = tmp_path / "box" / "black_box.json"
    content, draw = json.loads(file.read_text()), random.Random(seed)
    for key in content:
        changed = {**content, key: draw.choice([None, 7, "x", [], [[]], {"dict": [["a", 1]]}])}
        file.write_text(json.dumps(changed))
        code = main(["replay", str(tmp_path / "box"), f"{__file__}:make_linear"])
        shown = capsys.readouterr()
        assert code in (0, 1) or len(shown.err.splitlines()) == 1
        assert "Traceback" not in shown.err


def test_files_of_others_are_not_replaced(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    _, model, optimizer, _ = make_linear()
    with pytest.raises(gradlab.GradlabError, match=r"mine.txt was not written by gradlab"):
        gradlab.watch(model, optimizer, black_box=tmp_path)
    with pytest.raises(gradlab.GradlabError, match="expected every of the black box"):
        gradlab.BlackBox(tmp_path, every=0)
    with pytest.raises(gradlab.GradlabError, match="expected locate=True"):
        gradlab.watch(model, optimizer, black_box=tmp_path / "box", locate=False)
