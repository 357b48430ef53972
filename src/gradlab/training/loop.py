"""The training loop: trains and records the members of a stack.

    for each step:  loss -> backward -> clip -> update -> stop members that diverged -> (record)

On a GPU, the loop transfers results to the CPU only at recorded steps.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.nonfinite.fault import Fault
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
from gradlab.training.locate_member import locate_member
from gradlab.training.minibatches import Minibatches
from gradlab.training.optimizer import make_updates
from gradlab.training.stack import Stack
from gradlab.training.stack_parameters import Named

DESCENT_EVERY = 10  # minimal number of steps between two, because each needs a forward pass
RESOLVED = 30.0  # the predicted decrease must exceed this many rounding errors of the loss


@dataclass(frozen=True)
class StepRecord:
    """The measurements of one step, on the device.

    Attributes:
        step: Number of the step.
        seconds: Time from the beginning of training to the end of the step.
        rates: Learning rate of each member.
        table_KM: loss, accuracy, grad_norm, clip_factor, descent, and 1 if the member is alive.
        layers_MSC: The columns of `schema.STATISTICS`; None if the step is not recorded.
    """

    step: int
    seconds: float
    rates: list[float]
    table_KM: Tensor
    layers_MSC: Tensor | None


class Loop:
    """Trains the members of a stack and writes the rows of each member to its sinks.

    Args:
        settings: Settings of each member.
        dataset: The data of all members.
        sinks: Sinks of each member.
        networks: Initialised network of each member; None to build them from the settings.

    Attributes:
        stack: The networks.
        minibatches: The data of each step.
        recorder: Measures the layers.
        history: Steps that are not yet written, and the outcome of each member.
        updates: The optimiser.
        clipper: The gradient clipping.
        steps: Number of steps.
        every: Number of steps from one record to the next.
        alive: Whether the loss and parameters of each member are finite so far, [M].

    Raises:
        SettingsError: The members cannot form a stack, or cannot be trained.
    """

    def __init__(
        self,
        settings: Sequence[Settings],
        dataset: Dataset,
        sinks: Sequence[Sequence[RowWriter]],
        networks: Sequence[nn.Module] | None = None,
    ) -> None:
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
        """Compute and clip gradients once, without an update, to find errors before training.

        Code that vmap cannot run, such as a branch on a value, fails here in a stack of several
        members. It works in a stack of one.
        """
        stack = self.stack
        before = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        loss, _ = stack.losses(*self.minibatches.first_batch())
        self.clipper.clip(stack.parameters, stack.gradients(loss))
        for name, buffer in stack.buffers.items():
            buffer.copy_(before[name])

    def run(self, stop: Callable[[], bool] = lambda: False) -> list[Outcome]:
        """Train until the last step, until all members have diverged, or until `stop` returns True.

        The sinks receive every completed step, also after an error.

        Args:
            stop: Called after each step.

        Returns:
            The outcome of each member.
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
        """Update every member that is alive.

        A member stops if its loss or its new parameters are not finite. It then gets back the
        parameters before the update.

        Args:
            step: Number of the step.
            recorded: Whether to measure the layers.

        Returns:
            The measurements.
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
            if loss.is_cuda or not self.alive.all():  # on a GPU, reading `alive` would synchronise
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
        """Compute a member's loss, a scalar, and clipped gradients, [1, ...], on its batch."""
        x, y = self.minibatches.member_batch(member)
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
            {"loss": mean_loss, "accuracy": fraction}
            for mean_loss, fraction in zip(loss.double().tolist(), accuracy, strict=True)
        ]


class Recorder:
    """Measures the layers of a stack.

    Args:
        stack: The stack.

    Attributes:
        modules: The modules to measure.
        probes: A context manager that stores the signals of a pass.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.modules = find_modules(stack.model)
        self.probes = Probes(self.modules, stacked=stack.size > 1)
        self._next_descent = 0

    def measure(self, grads: Named) -> Tensor:
        """Return the columns of the last pass inside `probes`, [M, S, C]; call after the update."""
        parameters = self._stack.parameters
        return measure(self.modules, self.probes.signals, parameters.saved, grads, parameters.named)

    def descent_due(self, step: int) -> bool:
        """Return whether to measure the descent at a recorded step, and schedule the next one."""
        due = step >= self._next_descent
        if due:
            self._next_descent = step + DESCENT_EVERY
        return due

    def descent(self, loss: Tensor, x: Tensor, y: Tensor, grads: Named) -> Tensor:
        """Divide the change of the batch's loss by the change that the gradient predicts.

        Args:
            loss: Mean loss before the update, [M].
            x: Samples of the batch, [M, B, F].
            y: Targets of the batch.
            grads: Gradients of the mean loss before clipping, [M, ...], keyed by dotted name.

        Returns:
            The ratio, [M]; `NULL` where the predicted decrease is not above rounding error.
        """
        stack, before = self._stack, self._stack.parameters.saved
        buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        after, _ = stack.losses(x, y, stack.params, buffers)
        predicted = torch.zeros_like(after, dtype=torch.float64)
        for name, grad in grads.items():
            update = stack.params[name] - before[name]
            predicted += matrix_sum((grad * update).view(stack.size, -1, grad.shape[-1]))
        floor = RESOLVED * torch.finfo(stack.dtype).eps * loss.double().abs()
        ratio = (after.double() - loss.double()) / predicted
        return torch.where(predicted < -floor, ratio, NULL)

    def measure_member(self, member: int, x: Tensor, y: Tensor) -> Tensor:
        """Measure one member at its current parameters.

        Args:
            member: Index of the member.
            x: Samples, [1, B, F].
            y: Targets.

        Returns:
            The columns, [S, C], on the CPU.
        """
        one = slice(member, member + 1)
        buffers = {name: buffer[one].clone() for name, buffer in self._stack.buffers.items()}
        with Probes(self.modules, stacked=False) as probes:
            _, params, grads = self._stack.evaluate_member(member, x, y, buffers)
        with torch.no_grad():
            return measure(self.modules, probes.signals, params, grads, params)[0].cpu()

    def locate(self, member: int, x: Tensor, y: Tensor, step: int) -> Fault | None:
        """Locate the operation at which a member diverged, as `locate_member` does."""
        return locate_member(self._stack, member, x, y, step)


class History:
    """Collects the steps of a stack and writes the rows of each member to its sinks.

    Args:
        recorder: Measures the step at which a member stopped.
        minibatches: The data of that step.
        sinks: Sinks of each member.

    Attributes:
        outcomes: Status and number of steps of each member.
    """

    def __init__(
        self, recorder: Recorder, minibatches: Minibatches, sinks: Sequence[Sequence[RowWriter]]
    ) -> None:
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
        """Set the status of the members that have not diverged."""
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
        """Write the steps of one member, up to the step at which it diverged.

        Args:
            member: Index of the member.
            steps: T steps.
            table_TK: The table of each step for this member.
            layers_SC: The layers at the last step; None if it is not recorded.
        """
        outcome, alive_T = self.outcomes[member], table_TK[:, -1].bool()
        diverged = not bool(alive_T.all())
        end = int(alive_T.long().argmin()) + 1 if diverged else len(steps)
        step_batch = step_rows(
            [each.step for each in steps[:end]],
            [each.rates[member] for each in steps[:end]],
            [each.seconds for each in steps[:end]],
            table_TK[:end, :-1],
        )
        outcome.steps = steps[end - 1].step + 1
        batch = self._minibatches.member_batch(member)
        if diverged and (layers_SC is None or end < len(steps)):
            layers_SC = self._recorder.measure_member(member, *batch)
        layers = None
        if layers_SC is not None:
            keys = [module.key for module in self._recorder.modules]
            layers = layer_rows(steps[end - 1].step, keys, layers_SC)
        rows = Rows(step_batch, layers)
        if diverged:
            outcome.status = "diverged"
            outcome.first_nonfinite = first_nonfinite(rows)
            fault = self._recorder.locate(member, *batch, steps[end - 1].step)
            outcome.fault = None if fault is None else fault.as_dict()
        for sink in self._sinks[member]:
            sink.write(rows)


def transfer(steps: Sequence[StepRecord]) -> tuple[Tensor, Tensor | None]:
    """Copy steps to the CPU in one transfer.

    Returns:
        The table of each step, [T, K, M] float64; and the layers of the last step, [M, S, C], or
        None if it is not recorded.
    """
    table_TKM = torch.stack([each.table_KM for each in steps])
    layers_MSC = steps[-1].layers_MSC
    if layers_MSC is None:
        return table_TKM.cpu(), None
    flat = torch.cat([table_TKM.flatten(), layers_MSC.flatten()]).cpu()
    split = table_TKM.numel()
    return flat[:split].view(table_TKM.shape), flat[split:].view(layers_MSC.shape)


def _accuracy(output_MBU: Tensor, y_MB: Tensor) -> Tensor:
    """Return the fraction of correct samples, [M]; in sequences, of correct time steps."""
    return (output_MBU.argmax(-1) == y_MB).flatten(1).double().mean(-1)
