"""The first number of a training that is inf or NaN, and where it began."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

STAGES = ("data", "forward", "hidden", "backward", "update", "unknown")


@dataclass(frozen=True)
class Fault:
    """Where and why a number became inf or NaN.

    Attributes:
        step: Number of optimiser steps before it; a step that a GradScaler skips counts.
        stage: "data" (a tensor from outside of the step), "forward", "hidden" (an entry that the
            loss does not use, but the gradient does), "backward", "update" (the optimiser), or
            "unknown".
        effect: The consequence, as `the loss is NaN`.
        operation: The operation, as `sqrt`; for "data" and "update" the tensor.
        line: `file:line` of the user's code; empty if unknown.
        code: The text of the line.
        module: Dotted name of the module; None outside of modules.
        call: Number of the module's call in the step, from 1; for a cell, the time step.
        received: The arguments, as `received 0`.
        reason: A clause, as `its derivative there is infinite`.
        remedy: Code that avoids it; empty if unknown.
        stack: Further lines of the user's code, outwards.
        exact: Whether the repeated step gave the same loss.
        skipped: Whether a GradScaler skipped the step.
    """

    # attributes: a plain record, written to run.json
    step: int
    stage: str
    effect: str
    operation: str = ""
    line: str = ""
    code: str = ""
    module: str | None = None
    call: int = 1
    received: str = ""
    reason: str = ""
    remedy: str = ""
    stack: tuple[str, ...] = ()
    exact: bool = True
    skipped: bool = False

    def where(self) -> str:
        """Return operation, line and module: "`sqrt` at model.py:88, in module `encoder.3`"."""
        parts = [f"`{self.operation}`" if self.operation else "an operation"]
        if self.line:
            parts[0] += f" at {self.line}"
        if self.module:
            parts.append(
                f"in module `{self.module}`" + (f" (call {self.call})" if self.call > 1 else "")
            )
        return ", ".join(parts)

    def sentence(self) -> str:
        """Return one sentence without its reason and without a full stop."""
        if self.stage in ("data", "update", "unknown"):
            return f"{self.received}; {self.effect}" if self.received else self.effect
        return f"{self.where()}, {self.received}; {self.effect}"

    def as_dict(self) -> dict[str, Any]:
        """Return the fault as plain JSON types."""
        return asdict(self) | {"stack": list(self.stack)}

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> Self:
        """Return the fault that `as_dict` has written; unknown entries are ignored."""
        known = {each.name for each in fields(cls)}
        given: dict[str, Any] = {key: value for key, value in written.items() if key in known}
        given["stack"] = tuple(given.get("stack", ()))
        return cls(**given)
