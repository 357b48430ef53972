"""Pass one sample forward and back through one network, by hand and by autograd."""

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
from gradlab.models.network import check_numpy_copy, numpy_copy
from gradlab.reference.activation_functions import Activation, Array
from gradlab.reference.chain_rule import Sample, Weight, compute_passes, find_largest_gradient
from gradlab.reference.dense import train
from gradlab.training.stack import build_network

SLOPE_GRID = np.linspace(-20, 20, 40_001)  # contains the maximum of every |phi'|


@dataclass(frozen=True)
class SamplePass:
    """One sample in one network, and the weight that is explained.

    Attributes:
        settings: the settings of the network.
        dataset: the dataset of the sample.
        index: index of the sample among the held-out samples.
        sample: the forward and backward pass by hand.
        layer: layer of the weight, counted from 1.
        weight: the weight as (from, to), units counted from 0.
        chosen: whether the user chose the weight. If not, it has the layer's largest gradient.
        autograd: dLoss/dW of each layer by autograd, [n_in, n_out].
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
        """dLoss/dW of the weight, computed by hand."""
        return float(self.sample.grads[self.layer - 1].dW[self.weight])

    @property
    def autograd_gradient(self) -> float:
        """dLoss/dW of the weight, computed by autograd."""
        return float(self.autograd[self.layer - 1][self.weight])

    @property
    def target(self) -> int:
        """Index of the explained output: the true class, or 0 in a regression."""
        y = self.sample.Y
        return int(y[0]) if self.dataset.task == "classification" else 0


def pass_sample(settings: Settings, dataset: Dataset, options: Mapping[str, Any]) -> SamplePass:
    """Build a network, train it if requested, and pass one held-out sample through it.

    Args:
        settings: the settings of a plain MLP.
        dataset: the dataset to train on and to take the sample from.
        options: the section `explain` of the configuration.

    Returns:
        The pass.

    Raises:
        SettingsError: the network is not written by hand, or the sample, layer or weight does not
            exist.
    """
    check_numpy_copy(settings)
    check_data(settings, len(dataset.x_train), dataset.task)
    model = build_network(settings, dataset, torch.float64)
    layers, loss = numpy_copy(settings, model)
    if options["after"]:
        lr = settings.optim.params["lr"]
        x, y = dataset.x_train.numpy(), dataset.y_train.numpy()
        layers, _ = train(layers, x, y, loss, lr, options["after"])
        with torch.no_grad():
            for hand, layer in zip(layers, _linears(model), strict=True):
                layer.linear.weight.copy_(torch.from_numpy(hand.W.T))
                layer.linear.bias.copy_(torch.from_numpy(hand.b))
    index = _check_index(
        "explain.sample", options["sample"], len(dataset.x_test), "held-out samples"
    )
    x, y = dataset.x_test[index : index + 1], dataset.y_test[index : index + 1]
    sample = compute_passes(layers, x.numpy(), y.numpy(), loss)
    if not np.isfinite(sample.value):
        raise SettingsError(
            f"the loss is {sample.value}, expected a finite loss: choose another model.init or loss"
        )
    layer = options["layer"]
    if layer > len(layers):
        raise SettingsError(f"explain.layer={layer}: expected 1 to {len(layers)}, the output layer")
    call, scale = partial(settings.loss.component.call), settings.loss.scale
    (scale * call(model(x), y)).backward()
    autograd = [_gradient(layer.linear.weight) for layer in _linears(model)]
    chosen = options["weight"] is not None
    weight = (
        _check_weight(options["weight"], sample, layer)
        if chosen
        else find_largest_gradient(sample, layer)
    )
    return SamplePass(settings, dataset, index, sample, layer, weight, chosen, autograd)


def _linears(model: torch.nn.Module) -> list[Layer]:
    return [module for module in model.modules() if isinstance(module, Layer)]


def _gradient(weight: torch.Tensor) -> Array:
    assert weight.grad is not None
    return weight.grad.numpy().T.copy()


def _check_weight(units: Any, sample: Sample, layer: int) -> Weight:
    """Return the weight that the user chose, if it exists.

    Args:
        units: the value of `explain.weight`, [from, to].
        sample: the pass.
        layer: the layer of the weight, counted from 1.

    Returns:
        The weight.

    Raises:
        SettingsError: the value is not a pair, or the layer has no such units.
    """
    if len(units) != 2 or not all(isinstance(v, int) for v in units):
        raise SettingsError(f"explain.weight={list(units)}: expected [from, to], two whole numbers")
    n_in, n_out = sample.layers[layer - 1].W.shape
    return (
        _check_index("explain.weight, from", units[0], n_in, f"units before layer {layer}"),
        _check_index("explain.weight, to", units[1], n_out, f"units in layer {layer}"),
    )


def _check_index(key: str, value: int, count: int, nouns: str) -> int:
    """Return an index from 0 to count - 1.

    Args:
        key: the configuration key, for the message.
        value: the index.
        count: number of samples or units.
        nouns: their name, for the message.

    Returns:
        The index.

    Raises:
        SettingsError: the index is too small or too large.
    """
    if not 0 <= value < count:
        raise SettingsError(f"{key}={value}: expected 0 to {count - 1}, there are {count} {nouns}")
    return value


def shape(array: Array) -> str:
    """Return the shape of an array as text: `[rows, columns]`."""
    return f"[{', '.join(map(str, array.shape))}]"


def max_slope(phi: Activation) -> float:
    """Return max |phi'|."""
    return float(np.abs(phi.derivative(SLOPE_GRID)).max())


def norm(array: Array) -> float:
    """Return the Euclidean norm of all entries."""
    return float(np.linalg.norm(array))
