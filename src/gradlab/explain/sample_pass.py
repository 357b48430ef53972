"""What is explained: one sample of one network, passed forward and back by hand and by autograd."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from gradlab.config.settings import Settings, check_data
from gradlab.data.dataset import Dataset
from gradlab.errors import SettingsError
from gradlab.models.feedforward import Layer
from gradlab.models.network import check_twin, twin
from gradlab.reference.activation_functions import Activation, Array
from gradlab.reference.chain_rule import Sample, Weight, compute_passes, find_largest_gradient
from gradlab.reference.dense import train
from gradlab.training.stack import build_network

SLOPE_GRID = np.linspace(-20, 20, 40_001)  # holds the maximum of every |phi'|


@dataclass(frozen=True)
class SamplePass:
    """One sample of one network, and the weight that the story is about.

    Attributes:
        settings: of the network.
        dataset: where the sample is from.
        index: of the sample among the held-out ones.
        sample: its pass by hand.
        layer: of the weight, from 1.
        weight: (from, to), units counted from 0.
        chosen: whether the weight was named rather than found as the most blamed.
        autograd: each layer's dLoss/dW by autograd, [n_in, n_out].
    """

    settings: Settings
    dataset: Dataset
    index: int
    sample: Sample
    layer: int
    weight: Weight
    chosen: bool
    autograd: list[Array]

    @property
    def name(self) -> str:
        """The weight's name, W_layer[from, to]."""
        return f"W_{self.layer}[{self.weight[0]}, {self.weight[1]}]"

    @property
    def gradient(self) -> float:
        """dLoss/dW of the weight, by hand."""
        return float(self.sample.grads[self.layer - 1].dW[self.weight])

    @property
    def of_autograd(self) -> float:
        """The same by autograd."""
        return float(self.autograd[self.layer - 1][self.weight])

    @property
    def target(self) -> int:
        """The output that the story follows: that of the true class, or the only one."""
        y = self.sample.Y
        return int(y[0]) if self.dataset.task == "classification" else 0


def pass_sample(settings: Settings, dataset: Dataset, how: Mapping[str, Any]) -> SamplePass:
    """Build the network of `settings`, and pass one held-out sample through it.

    Args:
        settings: a plain MLP.
        dataset: what it is trained on.
        how: the section `explain` of the configuration.

    Raises:
        SettingsError: the network is not written by hand, or has no such sample, layer or weight.
    """
    check_twin(settings)
    check_data(settings, len(dataset.x_train), dataset.task)
    model = build_network(settings, dataset, torch.float64)
    layers, loss = twin(settings, model)
    if how["after"]:
        lr = settings.optim.params["lr"]
        x, y = dataset.x_train.numpy(), dataset.y_train.numpy()
        layers, _ = train(layers, x, y, loss, lr, how["after"])
        with torch.no_grad():
            for hand, layer in zip(layers, _linears(model), strict=True):
                layer.linear.weight.copy_(torch.from_numpy(hand.W.T))
                layer.linear.bias.copy_(torch.from_numpy(hand.b))
    index = _below("explain.sample", how["sample"], len(dataset.x_test), "held-out samples")
    x, y = dataset.x_test[index : index + 1], dataset.y_test[index : index + 1]
    sample = compute_passes(layers, x.numpy(), y.numpy(), loss)
    if not np.isfinite(sample.value):
        raise SettingsError(f"the loss is {sample.value}: there is no gradient to explain")
    layer = how["layer"]
    if layer > len(layers):
        raise SettingsError(f"explain.layer={layer}: expected 1 to {len(layers)}, the output layer")
    call, scale = partial(settings.loss.component.call), settings.loss.scale
    (scale * call(model(x), y)).backward()
    autograd = [_gradient(layer.linear.weight) for layer in _linears(model)]
    chosen = how["weight"] is not None
    weight = (
        _weight(how["weight"], sample, layer) if chosen else find_largest_gradient(sample, layer)
    )
    return SamplePass(settings, dataset, index, sample, layer, weight, chosen, autograd)


def _linears(model: torch.nn.Module) -> list[Layer]:
    return [module for module in model.modules() if isinstance(module, Layer)]


def _gradient(weight: torch.Tensor) -> Array:
    assert weight.grad is not None
    return weight.grad.numpy().T.copy()


def _weight(given: Any, sample: Sample, layer: int) -> Weight:
    if len(given) != 2 or not all(isinstance(v, int) for v in given):
        raise SettingsError(f"explain.weight={list(given)}: expected [from, to], two whole numbers")
    n_in, n_out = sample.layers[layer - 1].W.shape
    return (
        _below("explain.weight, from", given[0], n_in, f"units before layer {layer}"),
        _below("explain.weight, to", given[1], n_out, f"units in layer {layer}"),
    )


def _below(key: str, value: int, count: int, what: str) -> int:
    if not 0 <= value < count:
        raise SettingsError(f"{key}={value}: expected 0 to {count - 1}, there are {count} {what}")
    return value


def shape(array: Array) -> str:
    """Return [rows, columns]."""
    return f"[{', '.join(map(str, array.shape))}]"


def steepest(phi: Activation) -> float:
    """Return max |phi'|."""
    return float(np.abs(phi.derivative(SLOPE_GRID)).max())


def norm(array: Array) -> float:
    """Return the Euclidean norm."""
    return float(np.linalg.norm(array))
