"""The training loop: a stack of members, recorded as they train.

    for each step:  loss -> backward -> (record) -> clip -> update -> stop members that diverged

Between two records nothing is transferred from the device.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.recording.modules import find_modules
from gradlab.recording.norms import joint_norm, matrix_sum
from gradlab.recording.probes import Probes
from gradlab.recording.recorder import measure
from gradlab.recording.rows import (
    NULL,
    Outcome,
    Rows,
    RowWriter,
    first_nonfinite,
    layer_rows,
    step_rows,
)
from gradlab.training.clipping import Clipper
from gradlab.training.minibatches import Minibatches
from gradlab.training.optimizer import make_updates
from gradlab.training.stack import Stack
from gradlab.training.stack_parameters import Named

DESCENT_EVERY = 10  # updates: each costs a forward pass
RESOLVED = 30.0  # roundings of the loss that the promised decrease must exceed to be compared


@dataclass(frozen=True)
class StepRecord:
    """The measurements of one step, still on the device.

    Attributes:
        step: its number.
        seconds: since the training began, at its end.
        rates: the learning rates, [M].
        table_KM: loss, accuracy, grad_norm, clip_factor, descent, and whether the update was made.
        layers_MSC: the columns of `schema.STATISTICS`, at the steps that are recorded.
    """

    step: int
    seconds: float
    rates: list[float]
    table_KM: Tensor
    layers_MSC: Tensor | None


class Loop:
    """Trains the members of a stack and writes each one's rows to its sinks.

    Attributes:
        stack: the networks.
        minibatches: their data.
        recorder: measures the layers.
        history: the steps that are not written yet, and each member's outcome.
        updates, clipper: the optimiser and the clipping.
        steps, every: how many steps there are, and how many from one record to the next.
        alive: whether each member's loss and parameters have been finite so far, [M].
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        dataset: Dataset,
        sinks: Sequence[Sequence[RowWriter]],
        networks: Sequence[nn.Module] | None = None,
    ) -> None:
        """Prepare the training.

        Args:
            settings: of each member.
            dataset: what all members train on.
            sinks: of each member.
            networks: of each member, initialised; else each is built from its settings.

        Raises:
            SettingsError: the members do not share their shapes, or cannot be trained.
        """
        first = settings[0]
        self.stack = Stack(settings, dataset, networks)
        self.minibatches = Minibatches(
            dataset,
            first.train.batch_size,
            [each.seed for each in settings],
            self.stack.device,
            self.stack.dtype,
        )
        self.recorder = Recorder(self.stack)
        self.history = History(self.recorder, self.minibatches, sinks)
        self.clipper = Clipper([each.clip for each in settings])
        self.updates = make_updates(
            [each.optim for each in settings], self.stack, self._evaluate_member
        )
        self.steps, self.every = first.train.steps, first.every
        self.alive = torch.ones(self.stack.size, dtype=torch.bool, device=self.stack.device)
        self._began = time.perf_counter()

    def rehearse(self) -> None:
        """Run the part of a step that all members share, without effect; raise if it fails.

        Code that vmap cannot run (a random activation, a branch on a value) works in a single run.
        """
        stack = self.stack
        before = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        loss, _ = stack.losses(*self.minibatches.first())
        self.clipper.clip(stack.parameters, stack.gradients(loss))
        for name, buffer in stack.buffers.items():
            buffer.copy_(before[name])

    def run(self, stop: Callable[[], bool] = lambda: False) -> list[Outcome]:
        """Train until the last step, until every member has diverged, or until `stop` returns True.

        The sinks receive every completed step, also after an error.
        """
        self._began = time.perf_counter()
        ended = "completed"
        try:
            for step in range(self.steps):
                recorded = step % self.every == 0
                self.history.add(self.step(step, recorded))
                if recorded:
                    self.history.flush()
                if stop():
                    ended = "interrupted"
                    break
                if self.history.all_diverged:
                    break
        except BaseException as error:
            ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            raise
        finally:
            self.history.flush()
            self.history.end(ended)
        return self.history.outcomes

    def step(self, step: int, recorded: bool) -> StepRecord:
        """Make one update of every live member; a member whose loss or update is not finite stops.

        A member that stops returns to the parameters of its last finite state.
        """
        stack, parameters = self.stack, self.stack.parameters
        x, y = self.minibatches.next(self.alive)
        with self.recorder.probes if recorded else nullcontext():
            loss, output = stack.losses(x, y)
            grads = stack.gradients(loss)
        with torch.no_grad():
            grad_norm = joint_norm(grads)
            clipped = self.clipper.clip(parameters, grads)
            clip_factor = self.clipper.factor(grad_norm, clipped)
            parameters.save()
            self.updates.step(clipped, loss, self.alive)
            self.alive = self.alive & loss.isfinite() & parameters.finite()
            if loss.is_cuda or not self.alive.all():  # on a GPU, reading `alive` would wait
                parameters.restore(~self.alive)
            layers, descent = None, torch.full_like(grad_norm, NULL)
            if recorded:
                named = parameters.name_blocks(grads)
                if self.recorder.descent_due(step):
                    descent = self.recorder.descent(loss, x, y, named)
                layers = self.recorder.measure(named)
        accuracy = torch.full_like(grad_norm, NULL)
        if self.minibatches.classify:
            accuracy = _accuracy(output, y)
        seconds, rates = time.perf_counter() - self._began, self.updates.rates
        columns = loss.detach(), accuracy, grad_norm, clip_factor, descent, self.alive
        table = torch.stack([column.double() for column in columns])
        return StepRecord(step, seconds, rates, table, layers)

    def _evaluate_member(self, member: int) -> tuple[Tensor, Named]:
        """Return a member's loss on its batch and its clipped gradients, [1, ...], anew."""
        x, y = self.minibatches.of_member(member)
        loss, params, grads = self.stack.evaluate_member(member, x, y)
        return loss, self.clipper.clip_member(member, grads, params)

    @torch.no_grad()
    def evaluate(self) -> list[dict[str, float | None]]:
        """Return each member's mean loss and accuracy on the held-out samples."""
        x, y = self.minibatches.held_out()
        self.stack.model.eval()
        loss, output = self.stack.losses(x, y)
        self.stack.model.train()
        classify = self.minibatches.classify
        accuracy = _accuracy(output, y).tolist() if classify else [None] * self.stack.size
        return [
            {"loss": value, "accuracy": right}
            for value, right in zip(loss.double().tolist(), accuracy, strict=True)
        ]


class Recorder:
    """Measures the layers of a stack.

    Attributes:
        modules: the modules that are measured.
        probes: a context manager that collects the signals of one pass.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.modules = find_modules(stack.model)
        self.probes = Probes(self.modules, stacked=stack.size > 1)
        self._next_descent = 0

    def measure(self, grads: Named) -> Tensor:
        """Return the columns of the pass that the probes saw, [M, S, C], after the update."""
        parameters = self._stack.parameters
        return measure(self.modules, self.probes.signals, parameters.saved, grads, parameters.named)

    def descent_due(self, step: int) -> bool:
        """Return whether a recorded step has its descent measured, and count it."""
        due = step >= self._next_descent
        if due:
            self._next_descent = step + DESCENT_EVERY
        return due

    def descent(self, loss: Tensor, x: Tensor, y: Tensor, grads: Named) -> Tensor:
        """Return the fall of the batch's loss over the fall that the gradient promised, [M].

        Args:
            loss: before the update, [M].
            x: the batch, [M, B, F].
            y: its targets.
            grads: before clipping, [M, ...] by dotted name.

        Returns:
            `NULL` where the gradient promises no decrease, or one that rounding of the loss hides.
        """
        stack, before = self._stack, self._stack.parameters.saved
        buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        after, _ = stack.losses(x, y, stack.params, buffers)
        promised = torch.zeros_like(after, dtype=torch.float64)
        for name, grad in grads.items():
            moved = stack.params[name] - before[name]
            promised += matrix_sum((grad * moved).view(stack.size, -1, grad.shape[-1]))
        floor = RESOLVED * torch.finfo(stack.dtype).eps * loss.double().abs()
        ratio = (after.double() - loss.double()) / promised
        return torch.where(promised < -floor, ratio, NULL)

    def measure_member(self, member: int, x: Tensor, y: Tensor) -> Tensor:
        """Return the columns of one member at its present parameters, [S, C], on the CPU.

        Args:
            member: its index.
            x: its batch, [1, B, F].
            y: its targets.
        """
        one = slice(member, member + 1)
        buffers = {name: buffer[one].clone() for name, buffer in self._stack.buffers.items()}
        with Probes(self.modules, stacked=False) as probes:
            _, params, grads = self._stack.evaluate_member(member, x, y, buffers)
        with torch.no_grad():
            return measure(self.modules, probes.signals, params, grads, params)[0].cpu()


class History:
    """Collects the steps of a stack and writes each member's rows to its sinks.

    Attributes:
        outcomes: how the training of each member stands.
    """

    def __init__(
        self, recorder: Recorder, minibatches: Minibatches, sinks: Sequence[Sequence[RowWriter]]
    ) -> None:
        """Begin without a step.

        Args:
            recorder: measures the step at which a member stopped.
            minibatches: the data of that step.
            sinks: of each member.
        """
        self.outcomes = [Outcome() for _ in sinks]
        self._recorder, self._minibatches, self._sinks = recorder, minibatches, sinks
        self._steps: list[StepRecord] = []

    def add(self, step: StepRecord) -> None:
        """Collect a step."""
        self._steps.append(step)

    @property
    def all_diverged(self) -> bool:
        """Whether every member has diverged, as of the last flush."""
        return all(outcome.status == "diverged" for outcome in self.outcomes)

    def end(self, status: str) -> None:
        """Set the status of the members that still run."""
        for outcome in self.outcomes:
            if outcome.status == "running":
                outcome.status = status

    def flush(self) -> None:
        """Write every step since the last flush to the sinks."""
        steps, self._steps = self._steps, []
        if not steps:
            return
        table_TKM, layers_MSC = transfer(steps)
        for member, outcome in enumerate(self.outcomes):
            if outcome.status != "diverged":
                layers_SC = None if layers_MSC is None else layers_MSC[member]
                self._write(member, steps, table_TKM[..., member], layers_SC)

    def _write(
        self, member: int, steps: Sequence[StepRecord], table_TK: Tensor, layers_SC: Tensor | None
    ) -> None:
        outcome, alive_T = self.outcomes[member], table_TK[:, -1].bool()
        diverged = not bool(alive_T.all())
        end = int(alive_T.long().argmin()) + 1 if diverged else len(steps)
        batch = step_rows(
            [each.step for each in steps[:end]],
            [each.rates[member] for each in steps[:end]],
            [each.seconds for each in steps[:end]],
            table_TK[:end, :-1],
        )
        outcome.steps = steps[end - 1].step + 1
        if diverged and (layers_SC is None or end < len(steps)):
            layers_SC = self._recorder.measure_member(member, *self._minibatches.of_member(member))
        layers = None
        if layers_SC is not None:
            keys = [module.key for module in self._recorder.modules]
            layers = layer_rows(steps[end - 1].step, keys, layers_SC)
        rows = Rows(batch, layers)
        if diverged:
            outcome.status = "diverged"
            outcome.first_nonfinite = first_nonfinite(rows)
        for sink in self._sinks[member]:
            sink.write(rows)


def transfer(steps: Sequence[StepRecord]) -> tuple[Tensor, Tensor | None]:
    """Copy some steps to the CPU in one transfer.

    Returns:
        [T, K, M] float64, the table of each step; and [M, S, C], the layers of the last step, if it
        was recorded.
    """
    table_TKM = torch.stack([each.table_KM for each in steps])
    layers_MSC = steps[-1].layers_MSC
    if layers_MSC is None:
        return table_TKM.cpu(), None
    flat = torch.cat([table_TKM.flatten(), layers_MSC.flatten()]).cpu()
    split = table_TKM.numel()
    return flat[:split].view(table_TKM.shape), flat[split:].view(layers_MSC.shape)


def _accuracy(output_MBU: Tensor, y_MB: Tensor) -> Tensor:
    """Return the fraction of samples, and of steps where each has a target, that are right, [M]."""
    return (output_MBU.argmax(-1) == y_MB).flatten(1).double().mean(-1)
