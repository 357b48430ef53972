"""The backward passes since the last step: the losses they began at, and the calls they came to."""

from collections.abc import Sequence

from torch import Tensor, nn

from gradlab.monitor.calls import Call
from gradlab.monitor.loss_scales import Scales
from gradlab.monitor.signals import Signals


class Passes:
    """What has come back to a network, and waits for the step that it belongs to.

    Args:
        network: without wrappers.
        signals: of its sites.

    Attributes:
        scales: by which a `GradScaler` has multiplied what came.
        under_way: whether a backward pass is.
    """

    def __init__(self, network: nn.Module, signals: Signals) -> None:
        self.network, self.signals, self.scales = network, signals, Scales()
        self._depth, self._before = 0, 0
        self._loss: Tensor | None = None
        self._scale: Tensor | None = None
        self._losses: list[tuple[Tensor, bool]] = []  # and whether their gradients came here

    @property
    def under_way(self) -> bool:
        """Whether there is a pass now."""
        return self._depth > 0

    def begin(self, roots: Sequence[Tensor], loss: Tensor | None) -> bool:
        """Listen, and say whether this is a pass of its own, not one within another."""
        self._depth += 1
        self.signals.backward = True
        if self._depth > 1:
            return False
        if self._thrown_away():
            self._losses.clear()
            self.signals.drop()
        self._before = self.signals.count
        self._loss, self._scale = loss, self.scales.begin(roots)
        return True

    def end(self) -> None:
        """Keep the loss, if its gradient came to this network."""
        self._depth -= 1
        self.signals.backward = self.under_way
        if self.under_way:
            return
        heard = self.signals.count > self._before
        if heard or not self.signals.order:  # nothing at all can be heard of what is compiled
            self.signals.scaled(self._before, self._scale)
            self.scales.came(self._scale)
            self._keep(heard)
        self._loss = None

    def take(self) -> tuple[list[Tensor], list[Call]]:
        """Return the losses and calls that wait, and begin anew."""
        if self.under_way:  # the step is made within the pass
            self._keep(heard=True)
        audible = bool(self.signals.order)
        losses = [loss for loss, heard in self._losses if heard or not audible]
        self._losses.clear()
        return losses, self.signals.take()

    def _keep(self, heard: bool) -> None:
        if self._loss is not None and self.signals.on:
            scale = self._scale
            loss = self._loss if scale is None else self._loss / scale.to(self._loss.device)
            self._losses.append((loss, heard))
        self._loss = None

    def _thrown_away(self) -> bool:
        """Say whether gradients have come since the last step of which nothing is left."""
        if not (self.signals.count or self._losses):
            return False
        learning = [p for p in self.network.parameters() if p.requires_grad]
        return bool(learning) and all(p.grad is None for p in learning)
