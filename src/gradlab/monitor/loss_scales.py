"""What a `GradScaler` multiplies losses by, and whose gradients it has divided again."""

from collections.abc import Iterable

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


class Scales:
    """The scale of each backward pass, which is that of the loss it begins at."""

    def __init__(self) -> None:
        self._of = WeakIdKeyDictionary()  # of losses that are scaled, as long as they live
        self._latest: Tensor | None = None  # of one that no backward pass has begun at yet
        self._now: Tensor | None = None
        self._divided: set[int] = set()

    def multiplied(self, losses: Iterable[Tensor], scale: Tensor) -> None:
        """Take note of losses that were just scaled."""
        for loss in losses:
            self._of[loss] = scale
        self._latest = scale

    def divided(self, parameters: Iterable[Tensor]) -> None:
        """Take note of parameters whose gradients are what they would be without."""
        self._divided |= {id(p) for p in parameters}

    def begin(self, roots: Iterable[Tensor]) -> Tensor | None:
        """Return the scale of a backward pass; None if there is none.

        What is no scaled loss itself may be a sum or a part of such, and has the latest scale.
        """
        for root in roots:
            if root in self._of:
                self._latest = None
                return self._of[root]
        return self._latest

    def came(self, scale: Tensor | None) -> None:
        """Take note that a backward pass has brought gradients to the network."""
        self._now = scale
        self._divided.clear()

    def left_on(self, p: Tensor) -> Tensor | None:
        """Return what a parameter's gradient is still multiplied by."""
        return None if id(p) in self._divided else self._now

    def end(self) -> None:
        """Take note that the step is over; its gradients may still be there in the next one."""
        self._latest = None
