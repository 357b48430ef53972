"""The loss of a network that ignores its input."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from gradlab.config.choices import Component
from gradlab.data.dataset import Dataset


@lru_cache(maxsize=2)  # the runs of a sweep often share loss and data
def constant_loss(loss: Component, dataset: Dataset) -> float:
    """Return the smallest loss that an output which is equal for all samples reaches.

    For `cross_entropy`, it is the entropy of the labels. For `mse`, it is the variance of the
    targets. L-BFGS finds it from an output of 0.

    Args:
        loss: The loss, without the factor `loss.scale`.
        dataset: The data; its training samples are used.

    Returns:
        The mean over the training samples, in the unit of the loss.
    """
    y = dataset.y_train
    shape = y.shape if dataset.target_steps else y.shape[:1]

    def value_and_gradient(values: np.ndarray) -> tuple[float, np.ndarray]:
        output = torch.from_numpy(values).requires_grad_()
        mean = loss.call(output.expand(*shape, dataset.n_out), y)
        (gradient,) = torch.autograd.grad(mean, output)
        return mean.item(), gradient.numpy()

    found: Any = minimize(value_and_gradient, np.zeros(dataset.n_out), jac=True, method="L-BFGS-B")
    return float(found.fun)
