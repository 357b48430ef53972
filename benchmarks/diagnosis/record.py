"""Trains a network, and records the data of gradlab and of other tools.

Separate hooks with torch's functions make the second record, so that no tool depends on another's
measurements.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from diagnosis.seen import activation_row, layer_row
from torch import Tensor

from gradlab.config.compose import compose
from gradlab.config.settings import Settings
from gradlab.results.nullable import numpy_floats
from gradlab.sinks.memory import Memory
from gradlab.training.loop import Loop, StepRecord


@dataclass(frozen=True)
class Record:
    """A run.

    Attributes:
        settings: of the run.
        status: "completed" or "diverged".
        layers: gradlab's `layers.parquet`, as a frame.
        steps: gradlab's `steps.parquet`; loss and accuracy of every step, for all tools.
        seen: a row per recorded step and linear map: the data of other tools.
        activation: its name.
    """

    settings: Settings
    status: str
    layers: pd.DataFrame
    steps: pd.DataFrame
    seen: pd.DataFrame
    activation: str


class Watched(Loop):
    """A loop whose recorded steps are also seen by hooks on its modules."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.seen: list[dict[str, float]] = []

    def step(self, step: int, recorded: bool) -> StepRecord:
        """Make the step; save its tensors if it is recorded."""
        if not recorded:
            return super().step(step, recorded)
        caught: dict[Any, Any] = {}
        before = {name: p.clone() for name, p in self.stack.params.items()}
        handles: list[Any] = []
        layers = [module for module in self.recorder.modules if module.axis == "depth"]
        for module in layers:
            handles += _catch(module.layer.linear, ("z", module.position), caught)
            if module.layer.activation is not None:
                handles += _catch(module.layer.activation, ("a", module.position), caught)
        try:
            done = super().step(step, recorded)
        finally:
            for handle in handles:
                handle.remove()
        grads = {name: leaf.grad[None] for name, leaf in self.stack.leaves.items()}  # unclipped
        views = [before, grads, self.stack.params]
        for module in layers:
            name, at = f"{module.name}.linear", module.position
            parameters = [[view[f"{name}.{p}"][0] for p in ("weight", "bias")] for view in views]
            z, delta = caught["z", at], caught["z", at, "grad"]
            row = layer_row(*parameters, z, delta)
            if module.layer.activation is not None:
                row |= activation_row(caught["a", at, "input"], caught["a", at])
            self.seen.append({"step": step, "position": at, **row})
        return done


def _catch(module: torch.nn.Module, key: tuple[str, int], caught: dict[Any, Tensor]) -> list[Any]:
    """Save a module's input, its output, and later the gradient of the output.

    Only of the first forward pass of the step: gradlab calls an activation again to measure phi'.
    """

    def keep(module: torch.nn.Module, inputs: Any, output: Tensor) -> None:
        if key in caught:
            return
        caught[key], caught[*key, "input"] = output.detach().clone(), inputs[0].detach().clone()
        output.register_hook(lambda grad: caught.__setitem__((*key, "grad"), grad.clone()))

    return [module.register_forward_hook(keep)]


def record(overrides: list[str]) -> Record:
    """Train the network of some Hydra overrides, in memory."""
    settings, _ = compose("config", overrides)
    sink = Memory()
    loop = Watched([settings], settings.data.call(), [[sink]])
    (outcome,) = loop.run()
    return Record(
        settings=settings,
        status=outcome.status,
        layers=numpy_floats(sink.layers()),
        steps=numpy_floats(sink.steps()),
        seen=pd.DataFrame(loop.seen),
        activation=settings.model.activation.name,
    )
