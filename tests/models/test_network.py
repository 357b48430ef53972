"""Networks that cannot be built are refused early, in a line that names the key."""

import pytest
import torch
from torch import nn

from gradlab.data.dataset import load
from gradlab.errors import SettingsError
from gradlab.models import network as network_module
from gradlab.training.stack import build_network
from tests.configs import settings


class Warns(nn.Module):
    """An activation that is refused and also prints a warning."""

    def forward(self, z):
        import warnings

        warnings.warn("a warning of the module", UserWarning, stacklevel=1)
        return z.softmax(-1)


def end_the_program(*args, **kwargs):
    raise SystemExit(0)


HERE = "tests.models.test_network"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"model__activation": "torch.nn.Flatten"}, "activation=torch.nn.Flatten: expected an ele"),
        ({"model__activation": "torch.nn.Softmax"}, "depends on more than one input"),
        ({"model__activation": f"{HERE}.Warns"}, "depends on more than one input"),
        (
            {"model__activation": "sys.exit"},
            "model.activation=sys.exit: expected .*: it ends the program",
        ),
        ({"model__activation": "os.getcwd"}, "but it makes a str"),
        (
            {"model__norm": "torch.nn.Dropout"},
            "model.norm=torch.nn.Dropout: expected .*: dropout p",
        ),
        ({"model__norm": "torch.nn.Flatten"}, "model.norm=torch.nn.Flatten: expected"),
        ({"model__norm": "torch.zeros"}, "but it makes a Tensor"),
        ({"model__norm": "torch.nn.AvgPool1d"}, r"keeps the shape, but \(2, 64\) became \(2, 1\)"),
        ({"model__init": "torch.nn.init.ones_"}, "model.init=torch.nn.init.ones_, called with"),
        ({"model__init": "os.getcwd"}, "takes no arguments"),
        ({"model__init": f"{HERE}.end_the_program"}, "failed: it ends the program"),
        ({"model__width": 10_000_000}, "model=mlp of model.depth=5 and model.width=10000000 needs"),
        ({"model__depth": 2**31 - 1}, "cannot be built: model=mlp of model.depth=2147483647"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(overrides, words):
    run = settings(**overrides)
    with pytest.raises(SettingsError, match=words):
        build_network(run, load(run), torch.float32)


@pytest.mark.parametrize(
    ("name", "entries"),
    [
        ("cnn", 9 * 100 + 100 + 4 * (9 * 100 * 100 + 100) + 64 * 100 * 10 + 10),
        ("rnn", 8 * 100 + 100 + 100 * 100 + 4 * (100 * 200 + 100) + 1010),
        ("lstm", 4 * (8 * 100 + 100 + 100 * 100) + 16 * (100 * 200 + 100) + 1010),
    ],
)
def test_the_parameters_of_every_network_are_counted(monkeypatch, name, entries):
    run = settings(model=name, model__depth=5, model__width=100)
    data = load(run)
    monkeypatch.setattr(network_module, "machine_memory", lambda: entries * 8.0)
    build_network(run, data, torch.float32)
    monkeypatch.setattr(network_module, "machine_memory", lambda: entries * 8.0 - 1)
    with pytest.raises(SettingsError, match=rf"cannot be built: model={name} of .* needs 0\.0"):
        build_network(run, data, torch.float32)


class Calculates(nn.Tanh):
    """An activation that reads a tensor's value in its constructor."""

    def __init__(self):
        super().__init__()
        self.half = torch.tensor(0.5).item()


def test_an_activation_may_compute_in_its_constructor():
    run = settings(model__activation=f"{HERE}.Calculates")
    assert build_network(run, load(run), torch.float32).layers[0].activation.half == 0.5


def test_memory_that_runs_out_is_reported(monkeypatch):
    monkeypatch.setattr(network_module, "machine_memory", lambda: float("inf"))
    run = settings(model__width=1_000_000_000)
    with pytest.raises(SettingsError, match=r"the network cannot be built: .*memory"):
        build_network(run, load(run), torch.float32)


@pytest.mark.parametrize("norm", ["torch.nn.LayerNorm", "torch.nn.BatchNorm1d"])
def test_a_torch_module_can_be_a_normalisation(norm):
    run = settings(model__norm=norm, model__depth=1)
    assert build_network(run, load(run), torch.float64).layers[0].norm is not None


def test_data_that_do_not_fit_in_memory_are_reported(monkeypatch):
    def full(**kwargs):
        raise MemoryError("Unable to allocate 16 GiB")

    monkeypatch.setattr("gradlab.data.tabular.digits", full)
    with pytest.raises(
        SettingsError, match=r"data=digits cannot be loaded: Unable to allocate 16 GiB"
    ):
        load(settings())
