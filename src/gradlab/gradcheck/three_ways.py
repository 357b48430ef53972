"""Checks a configured network in three ways: autograd, finite differences, and NumPy equations."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradlab.config.settings import Settings, check_data
from gradlab.data.dataset import Dataset
from gradlab.errors import SettingsError
from gradlab.gradcheck.gradient_report import GradientReport, Options, row_table
from gradlab.gradcheck.module_check import check_module
from gradlab.gradcheck.problem import Problem
from gradlab.models.network import numpy_copy
from gradlab.pages.page import PageTable, notebook_html, table_lines
from gradlab.reference.activation_functions import Array
from gradlab.reference.dense import loss_and_gradients
from gradlab.training.minibatches import Batches
from gradlab.training.stack import build_network

BY_HAND = 1e-10  # allowed difference, relative to an array's largest gradient: float64 rounding


@dataclass(frozen=True)
class ThreeWays:
    """Autograd compared with finite differences, and with the hand-written NumPy network.

    Attributes:
        description: the network, data and scheme, in one line.
        report: the comparison of autograd with finite differences.
        by_hand: for each array, the largest difference between the hand-written pass and autograd,
            relative to the array's largest gradient; None if the network has no NumPy version.
        why_not: the reason why the network has no NumPy version.
    """

    description: str
    report: GradientReport
    by_hand: Mapping[str, float] | None
    why_not: str | None

    @property
    def passed(self) -> bool:
        """Whether all gradients agree."""
        return self.report.passed and not self.differing

    @property
    def differing(self) -> list[str]:
        """The arrays in which the hand-written pass and autograd differ."""
        return [name for name, error in (self.by_hand or {}).items() if not error <= BY_HAND]

    def __str__(self) -> str:
        """Return the table and its summary."""
        return "\n".join([self.description, "", *table_lines(self._table()), "", *self.summary()])

    def _repr_html_(self) -> str:
        """Return the table and its summary for a notebook."""
        return notebook_html(self.description, self._table(), self.summary())

    def _table(self) -> PageTable:
        if self.by_hand is None:
            return row_table(self.report.rows)
        errors = [f"{self.by_hand[row.name]:.1g}" for row in self.report.rows]
        return row_table(self.report.rows, [("hand-written", errors)])

    def summary(self) -> list[str]:
        """Return the summary, one sentence per line."""
        if self.by_hand is None:
            last = f"not compared with a hand-written backward pass: {self.why_not}"
        elif self.differing:
            last = (
                f"the hand-written gradients differ from autograd's in {', '.join(self.differing)}"
            )
        else:
            worst = max(self.by_hand.values())
            limit = f"at most {worst:.1g} of the largest gradient"
            last = f"the hand-written gradients differ from autograd's by {limit}"
        return [*self.report.summary(), last]


def problem_of(settings: Settings, dataset: Dataset) -> tuple[Any, Tensor, Tensor, Any]:
    """Return the network at initialisation (float64), its first batch x and y, and its loss.

    Args:
        settings: the configuration.
        dataset: its data.

    Returns:
        (network, x, y, loss).
    """
    check_data(settings, len(dataset.x_train), dataset.task)
    model = build_network(settings, dataset, torch.float64)
    size = settings.train.batch_size
    index = Batches(len(dataset.x_train), size, [settings.seed]).next()[0]
    call, scale = partial(settings.loss.component.call), settings.loss.scale

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return scale * call(output, target)

    return model, dataset.x_train[index], dataset.y_train[index], loss


def check_settings(settings: Settings, dataset: Dataset, options: Options) -> ThreeWays:
    """Check a configured network at initialisation, on its first batch, in float64.

    Args:
        settings: the configuration.
        dataset: its data.
        options: the options of the check.

    Returns:
        The results of all comparisons.

    Raises:
        SettingsError: the configuration cannot be run.
        CheckError: no gradient can be checked.
    """
    model, x, y, loss = problem_of(settings, dataset)
    report = check_module(model, (x,), y, loss, options)
    by_hand, why_not = None, None
    try:
        layers, hand_loss = numpy_copy(settings, model)
        _, grads = loss_and_gradients(layers, x.numpy(), y.numpy(), hand_loss)
        autograd, _ = Problem(model, (x,), y, loss, options.seed).gradients()
        hand: dict[str, Array] = {"input": grads[0].dA_prev}
        for index, each in enumerate(grads):
            hand[f"layers.{index}.linear.weight"] = each.dW.T
            hand[f"layers.{index}.linear.bias"] = each.db
        by_hand = {name: _relative_difference(hand[name], autograd[name]) for name in autograd}
    except SettingsError as error:
        why_not = str(error)
    network = settings.model
    description = (
        f"{network.component.name} of {network.depth} hidden layers, width {network.width}, "
        f"{network.activation.name}, {network.init.name}; {settings.data.name}, "
        f"{settings.loss.component.name}, {len(x)} samples; float64, seed {settings.seed}; "
        f"{options.scheme.replace('_', '-')} differences"
    )
    return ThreeWays(description, report, by_hand, why_not)


def _relative_difference(a: Array, b: Array | None) -> float:
    b = np.zeros_like(a) if b is None else b
    largest = float(np.abs(b).max(initial=0.0))
    return float(np.abs(a - b).max(initial=0.0)) / (largest or 1.0)
