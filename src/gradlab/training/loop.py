"""The training loop: a stack of members, recorded as they go.

    for each step:  loss -> backward -> (record) -> clip -> update -> freeze who diverged

Nothing is transferred from the device between two records.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradlab.config.settings import Settings
from gradlab.data.dataset import Dataset
from gradlab.recording.modules import find_sites
from gradlab.recording.norms import joint_norm, total
from gradlab.recording.probes import Probes
from gradlab.recording.recorder import measure
from gradlab.recording.rows import Outcome, Rows, Sink, first_nonfinite
from gradlab.training.batches import Batches
from gradlab.training.member_clipping import Clipper
from gradlab.training.optimizer import Updates
from gradlab.training.stack import Named, Stack

DESCENT_EVERY = 10  # updates: it costs another forward pass
TOLD = 30.0  # roundings of the loss that a promised decrease must exceed to be compared with one


@dataclass(frozen=True)
class Done:
    """What came of a step, still on the device. The tensors but `layers` are [M], as are `rates`.

    `alive` says whose update was made; `layers` is [M, S, C], at the steps that are recorded.
    """

    step: int
    seconds: float
    rates: list[float]
    loss: Tensor
    accuracy: Tensor
    grad_norm: Tensor
    clip_factor: Tensor
    descent: Tensor
    alive: Tensor
    layers: Tensor | None


class Loop:
    """Trains the members of a stack, and hands each one's rows to its sinks."""

    def __init__(
        self,
        settings: Sequence[Settings],
        dataset: Dataset,
        sinks: Sequence[Sequence[Sink]],
        networks: Sequence[nn.Module] | None = None,
    ) -> None:
        self.settings, self.dataset, self.sinks = settings, dataset, sinks
        first = settings[0]
        self.stack = Stack(settings, dataset, networks)
        self.sites = find_sites(self.stack.model)
        self.probes = Probes(self.sites, stacked=self.stack.size > 1)
        self.train, self.every = first.train, first.every
        self.updates = Updates([each.optim for each in settings], self.stack.blocks)
        self.clipper = Clipper([each.clip for each in settings])
        samples = len(dataset.x_train)
        self.batches = Batches(samples, self.train.batch_size, [s.seed for s in settings])
        device, dtype = self.stack.device, self.stack.dtype
        self.classify = dataset.task == "classification"
        self.x = dataset.x_train.to(device, dtype)
        self.y = dataset.y_train.to(device, None if self.classify else dtype)
        self.alive = torch.ones(self.stack.size, dtype=torch.bool, device=device)
        self.last_batch = torch.zeros(
            self.stack.size, self.train.batch_size, dtype=torch.int64, device=device
        )
        self.outcomes = [Outcome() for _ in settings]
        self.history: list[Done] = []
        self.next_descent = 0
        self.began = time.perf_counter()

    def rehearse(self) -> None:
        """Do what the members share of a step, and forget it; raise whatever does not go together.

        Code that vmap cannot take (a random activation, a branch on a value) goes well alone.
        """
        stack = self.stack
        shape = (stack.size, self.train.batch_size)
        x, y = (t[: shape[1]].expand(shape[0], *[-1] * t.ndim) for t in (self.x, self.y))
        before = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        loss, _ = stack.losses(x, y)
        self.clipper.clip(stack, stack.gradients(loss))
        for name, buffer in stack.buffers.items():
            buffer.copy_(before[name])

    def run(self, stop: Callable[[], bool] = lambda: False) -> list[Outcome]:
        """Train until the last step, until every member has diverged, or until `stop` says so.

        Whatever ends it, the sinks have been handed every completed step.
        """
        self.began = time.perf_counter()
        ended = "completed"
        try:
            for step in range(self.train.steps):
                recorded = step % self.every == 0
                self.history.append(self.step(step, recorded))
                if recorded:
                    self.flush()
                if stop():
                    ended = "interrupted"
                    break
                if all(outcome.status == "diverged" for outcome in self.outcomes):
                    break
        except BaseException as error:
            ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            raise
        finally:
            self.flush()
            for outcome in self.outcomes:
                if outcome.status == "running":
                    outcome.status = ended
        return self.outcomes

    def step(self, step: int, recorded: bool) -> Done:
        """Make one update of every live member; a member whose loss or update is not finite stops.

        A member that stops keeps the parameters of its last finite state.
        """
        stack = self.stack
        batch = self.batches.next().to(stack.device)
        self.last_batch = torch.where(self.alive[:, None], batch, self.last_batch)
        x, y = self.x[self.last_batch], self.y[self.last_batch]
        with self.probes if recorded else nullcontext():
            loss, output = stack.losses(x, y)
            grads = stack.gradients(loss)
        with torch.no_grad():
            grad_norm = joint_norm(grads)
            clipped = self.clipper.clip(stack, grads)
            clip_factor = self.clipper.factor(grad_norm, clipped)
            stack.keep()
            self.updates.step(clipped)
            self.alive = self.alive & loss.isfinite() & stack.finite()
            if loss.is_cuda or not self.alive.all():  # on a GPU, to ask would be to wait
                stack.restore(~self.alive)
            layers, descent = None, torch.full_like(grad_norm, torch.nan)
            if recorded:
                before, grads = stack.before, stack.named(grads)
                if step >= self.next_descent:
                    self.next_descent = step + DESCENT_EVERY
                    descent = self.descent(loss, x, y, before, grads)
                layers = measure(self.sites, self.probes.signals, before, grads, stack.params)
        accuracy = torch.full_like(loss, torch.nan)
        if self.classify:
            accuracy = (output.argmax(-1) == y).flatten(1).double().mean(-1)
        seconds, rates = time.perf_counter() - self.began, self.updates.rates
        measured = (loss.detach(), accuracy, grad_norm, clip_factor, descent, self.alive)
        return Done(step, seconds, rates, *measured, layers)

    def descent(self, loss: Tensor, x: Tensor, y: Tensor, before: Named, grads: Named) -> Tensor:
        """Return by what part of what the gradient promised the loss of this batch fell, [M].

        NaN where the promise is no decrease, or so small that rounding of the loss hides it.
        """
        stack = self.stack
        buffers = {name: buffer.clone() for name, buffer in stack.buffers.items()}
        after, _ = stack.losses(x, y, stack.params, buffers)
        promised = torch.zeros_like(after, dtype=torch.float64)
        for name, grad in grads.items():
            moved = stack.params[name] - before[name]
            promised += total((grad * moved).view(stack.size, -1, grad.shape[-1]))
        floor = TOLD * torch.finfo(stack.dtype).eps * loss.double().abs()
        ratio = (after.double() - loss.double()) / promised
        return torch.where(promised < -floor, ratio, torch.nan)

    def flush(self) -> None:
        """Hand every step since the last flush to the sinks."""
        history, self.history = self.history, []
        if not history:
            return
        table_TKM, layers_MSC = transfer(history)
        for m, outcome in enumerate(self.outcomes):
            if outcome.status == "diverged":
                continue
            alive_T = table_TKM[:, -1, m].bool()
            diverged = not bool(alive_T.all())
            end = int(alive_T.long().argmin()) + 1 if diverged else len(history)
            rows = Rows.of_steps(
                [done.step for done in history[:end]],
                [done.seconds for done in history[:end]],
                [done.rates[m] for done in history[:end]],
                table_TKM[:end, :-1, m],
                self.classify,
            )
            outcome.steps = history[end - 1].step + 1
            if layers_MSC is not None and end == len(history):
                rows.add_layers(history[-1].step, self.sites, layers_MSC[m])
            elif diverged:
                rows.add_layers(history[end - 1].step, self.sites, self.post_mortem(m))
            if diverged:
                outcome.status = "diverged"
                outcome.first_nonfinite = first_nonfinite(rows)
            for sink in self.sinks[m]:
                sink.write(rows)

    def post_mortem(self, member: int) -> Tensor:
        """Record, [S, C], the step at which a member stopped, from the state that it stopped in."""
        stack, one = self.stack, slice(member, member + 1)
        params = {name: p[one].clone().requires_grad_() for name, p in stack.params.items()}
        buffers = {name: buffer[one].clone() for name, buffer in stack.buffers.items()}
        batch = self.last_batch[one]
        with Probes(self.sites, stacked=False) as probes:
            loss, _ = stack.losses(self.x[batch], self.y[batch], params, buffers, one)
            loss.sum().backward()
        with torch.no_grad():
            grads = {
                n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in params.items()
            }
            layers = measure(self.sites, probes.signals, params, grads, params)
        return layers[0].cpu()

    @torch.no_grad()
    def evaluate(self) -> list[dict[str, float | None]]:
        """Return each member's mean loss and accuracy on the held-out samples."""
        stack, data = self.stack, self.dataset
        x = data.x_test.to(stack.device, stack.dtype).expand(stack.size, -1, -1)
        y = data.y_test.to(stack.device, None if self.classify else stack.dtype)
        y = y.expand(stack.size, *y.shape)
        stack.model.eval()
        loss, output = stack.losses(x, y)
        stack.model.train()
        right = None
        if self.classify:
            right = (output.argmax(-1) == y).flatten(1).double().mean(-1).tolist()
        return [
            {"loss": value, "accuracy": None if right is None else right[m]}
            for m, value in enumerate(loss.double().tolist())
        ]


def transfer(history: Sequence[Done]) -> tuple[Tensor, Tensor | None]:
    """Bring what was measured to the CPU, float64, all at once.

    Returns:
        [T, K, M]: loss, accuracy, grad_norm, clip_factor, descent and alive, of each step and
        member; and [M, S, C]: the layers of the last step, if it was recorded.
    """
    table_TKM = torch.stack(
        [
            torch.stack(
                [
                    d.loss.double(),
                    d.accuracy.double(),
                    d.grad_norm,
                    d.clip_factor,
                    d.descent,
                    d.alive,
                ]
            )
            for d in history
        ]
    )
    layers_MSC = history[-1].layers
    if layers_MSC is None:
        return table_TKM.cpu(), None
    flat = torch.cat([table_TKM.flatten(), layers_MSC.flatten()]).cpu()
    split = table_TKM.numel()
    return flat[:split].view(table_TKM.shape), flat[split:].view(layers_MSC.shape)
