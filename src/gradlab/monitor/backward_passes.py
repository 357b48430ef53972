"""The backward passes since the last step: their losses, loss scales and module calls."""

from collections.abc import Iterable, Sequence

from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from gradlab.monitor.calls import Call
from gradlab.monitor.signals import WatchedSignals


class LossScales:
    """The loss scale of each backward pass, by which a `GradScaler` multiplied the loss."""

    def __init__(self) -> None:
        self._scale_of = WeakIdKeyDictionary()  # keyed by scaled loss, while it exists
        self._latest: Tensor | None = None  # of a loss without a backward pass so far
        self._current: Tensor | None = None
        self._unscaled: set[int] = set()

    def add_losses(self, losses: Iterable[Tensor], scale: Tensor) -> None:
        """Remember the scale of losses that a `GradScaler` has multiplied."""
        for loss in losses:
            self._scale_of[loss] = scale
        self._latest = scale

    def add_unscaled(self, parameters: Iterable[Tensor]) -> None:
        """Remember parameters whose gradients a `GradScaler` has divided by their scale."""
        self._unscaled |= {id(p) for p in parameters}

    def scale_of_pass(self, roots: Iterable[Tensor]) -> Tensor | None:
        """Return the scale of a backward pass that starts from `roots`; None without a scaler.

        A root that no scaler returned may be a sum of scaled losses. Then the latest scale applies.
        """
        for root in roots:
            if root in self._scale_of:
                self._latest = None
                return self._scale_of[root]
        return self._latest

    def set_current(self, scale: Tensor | None) -> None:
        """Remember the scale of the gradients that a backward pass has just accumulated."""
        self._current = scale
        self._unscaled.clear()

    def remaining_scale(self, p: Tensor) -> Tensor | None:
        """Return the scale that the gradient of a parameter still contains; None stands for 1."""
        return None if id(p) in self._unscaled else self._current

    def end_step(self) -> None:
        """Forget the latest scale; gradients that remain for the next step still contain theirs."""
        self._latest = None


class BackwardPasses:
    """Collects the losses and module calls of the backward passes since the last step.

    Args:
        network: The watched network, without wrappers.
        signals: The signals of its modules.

    Attributes:
        scales: The loss scales.
    """

    def __init__(self, network: nn.Module, signals: WatchedSignals) -> None:
        self.network, self.signals, self.scales = network, signals, LossScales()
        self._depth, self._calls_before = 0, 0
        self._loss: Tensor | None = None
        self._scale: Tensor | None = None
        self._losses: list[tuple[Tensor, bool]] = []  # loss, whether it reached the network

    @property
    def running(self) -> bool:
        """Whether a backward pass is running."""
        return self._depth > 0

    def begin(self, roots: Sequence[Tensor], loss: Tensor | None) -> bool:
        """Begin a backward pass.

        Args:
            roots: The tensors from which it starts.
            loss: The sum of the roots; None unless all are scalars with the gradient 1.

        Returns:
            Whether it is an outermost pass, not inside another one.
        """
        self._depth += 1
        self.signals.in_backward = True
        if self._depth > 1:
            return False
        if self._gradients_were_discarded():
            self._losses.clear()
            self.signals.discard_calls()
        self._calls_before = self.signals.count
        self._loss, self._scale = loss, self.scales.scale_of_pass(roots)
        return True

    def end(self) -> None:
        """End a backward pass, and save its loss if gradients reached the network."""
        self._depth -= 1
        self.signals.in_backward = self.running
        if self.running:
            return
        reached = self.signals.count > self._calls_before
        if reached or not self.signals.order:  # a compiled network has no signals
            self.signals.set_scale(self._calls_before, self._scale)
            self.scales.set_current(self._scale)
            self._save_loss(reached)
        self._loss = None

    def take(self) -> tuple[list[Tensor], list[Call]]:
        """Return the losses and calls since the last step, and start a new collection."""
        if self.running:  # the optimiser steps inside the backward pass
            self._save_loss(reached=True)
        has_signals = bool(self.signals.order)
        losses = [loss for loss, reached in self._losses if reached or not has_signals]
        self._losses.clear()
        return losses, self.signals.take()

    def _save_loss(self, reached: bool) -> None:
        if self._loss is not None and self.signals.on:
            scale = self._scale
            loss = self._loss if scale is None else self._loss / scale.to(self._loss.device)
            self._losses.append((loss, reached))
        self._loss = None

    def _gradients_were_discarded(self) -> bool:
        """Return whether `zero_grad` has removed all gradients since the last backward pass."""
        if not (self.signals.count or self._losses):
            return False
        trainable = [p for p in self.network.parameters() if p.requires_grad]
        return bool(trainable) and all(p.grad is None for p in trainable)
