"""The training loop: a stack of members, recorded as they go.

    for each step:  loss -> backward -> (record) -> clip -> update -> freeze who diverged

Nothing is transferred from the device between two records.
"""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from gradlab.data.dataset import Dataset
from gradlab.record.norms import norm
from gradlab.record.probes import Probes, find_sites
from gradlab.record.recorder import measure
from gradlab.settings import Settings
from gradlab.train.batches import Batches
from gradlab.train.clipper import Clipper
from gradlab.train.rows import Outcome, Rows, Sink, first_nonfinite
from gradlab.train.stack import Stack


@dataclass
class Trained:
    """A step's inputs and what came of it, on the device; `alive` [M] says who was updated."""

    loss: Tensor
    accuracy: Tensor
    grad_norm: Tensor
    clip_factor: Tensor
    alive: Tensor
    layers: Tensor | None


class Loop:
    """Trains the members of a stack, and hands each one's rows to its sinks."""

    def __init__(
        self, settings: Sequence[Settings], dataset: Dataset, sinks: Sequence[Sequence[Sink]]
    ) -> None:
        self.settings, self.dataset, self.sinks = settings, dataset, sinks
        first = settings[0]
        self.stack = Stack(settings, dataset)
        self.sites = find_sites(self.stack.model)
        self.train, self.every = first.train, first.every
        self.optimiser = first.optim.call([self.stack.theta])
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
        self.history: list[tuple[int, float, float, Trained]] = []

    def run(self) -> list[Outcome]:
        """Train to the end, until every member has diverged, or until Ctrl-C; return what happened.

        Whatever ends it, the sinks have been handed every completed step.
        """
        began = time.perf_counter()
        try:
            for step in range(self.train.steps):
                recorded = step % self.every == 0
                done = self.step(recorded)
                lr = float(self.optimiser.param_groups[0]["lr"])
                self.history.append((step, time.perf_counter() - began, lr, done))
                if recorded:
                    self.flush()
                    if all(outcome.status == "diverged" for outcome in self.outcomes):
                        break
        except KeyboardInterrupt:
            self._end("interrupted")
        except BaseException:
            self._end("failed")
            raise
        else:
            self._end("completed")
        return self.outcomes

    def step(self, recorded: bool) -> Trained:
        """Make one update of every live member; a member whose loss or update is not finite stops.

        A member that stops keeps the parameters of its last finite state.
        """
        stack = self.stack
        theta = stack.theta
        batch = self.batches.next().to(stack.device)
        self.last_batch = torch.where(self.alive[:, None], batch, self.last_batch)
        x, y = self.x[self.last_batch], self.y[self.last_batch]
        probes = Probes(self.sites, stacked=stack.size > 1)
        theta.grad = None
        with probes if recorded else nullcontext():
            loss, output = stack.losses(theta, stack.buffers, x, y)
            loss.sum().backward()  # no member's loss depends on another's parameters
        assert theta.grad is not None
        with torch.no_grad():
            before, grad = theta.clone(), theta.grad
            grad_norm = norm(grad, -1)
            theta.grad = self.clipper.clip(stack, grad)
            clip_factor = self.clipper.factor(grad_norm, theta.grad)
            self.optimiser.step()
            self.alive = self.alive & loss.isfinite() & theta.isfinite().all(-1)
            theta.copy_(torch.where(self.alive[:, None], theta, before))
            layers = None
            if recorded:
                views = stack.views
                layers = measure(
                    self.sites, probes.signals, views(before), views(grad), views(theta)
                )
        accuracy = torch.full_like(loss, torch.nan)
        if self.classify:
            accuracy = (output.argmax(-1) == y).double().mean(-1)
        return Trained(loss.detach(), accuracy, grad_norm, clip_factor, self.alive, layers)

    def flush(self) -> None:
        """Hand every step since the last flush to the sinks: one transfer from the device."""
        if not self.history:
            return
        steps, seconds, lrs, done = zip(*self.history, strict=True)
        self.history = []
        per_step = [(d.loss, d.accuracy, d.grad_norm, d.clip_factor, d.alive) for d in done]
        table_TKM = torch.stack([torch.stack([c.double() for c in row]) for row in per_step])
        recorded = done[-1].layers
        parts = [table_TKM.flatten()] + ([] if recorded is None else [recorded.flatten()])
        flat = torch.cat(parts).cpu()
        table_TKM = flat[: table_TKM.numel()].view(table_TKM.shape)
        layers = None if recorded is None else flat[table_TKM.numel() :].view(recorded.shape)
        for m, outcome in enumerate(self.outcomes):
            if outcome.status == "diverged":
                continue
            alive_T = table_TKM[:, 4, m].bool()
            stop = len(steps) if alive_T.all() else int(alive_T.long().argmin()) + 1
            rows = Rows.of_steps(
                steps[:stop], seconds[:stop], lrs[:stop], table_TKM[:stop, :4, m], self.classify
            )
            if layers is not None and stop == len(steps):
                rows.add_layers(steps[-1], self.sites, layers[m])
            elif not alive_T[stop - 1]:
                rows.add_layers(steps[stop - 1], self.sites, self.post_mortem(m))
            if not alive_T[stop - 1]:
                outcome.status = "diverged"
                outcome.first_nonfinite = first_nonfinite(rows)
            outcome.steps = steps[stop - 1] + 1
            for sink in self.sinks[m]:
                sink.write(rows)

    def post_mortem(self, member: int) -> Tensor:
        """Record, [S, C], the step at which a member stopped, from the state that it stopped in."""
        stack, one = self.stack, slice(member, member + 1)
        theta = stack.theta[one].detach().clone().requires_grad_()
        buffers = {name: buffer[one].clone() for name, buffer in stack.buffers.items()}
        batch = self.last_batch[one]
        with Probes(self.sites, stacked=False) as probes:
            loss, _ = stack.losses(theta, buffers, self.x[batch], self.y[batch])
            loss.sum().backward()
        assert theta.grad is not None
        with torch.no_grad():
            views = stack.views(theta)
            layers = measure(self.sites, probes.signals, views, stack.views(theta.grad), views)
        return layers[0].cpu()

    def _end(self, status: str) -> None:
        self.flush()
        for outcome in self.outcomes:
            if outcome.status == "running":
                outcome.status = status

    @torch.no_grad()
    def evaluate(self) -> list[dict[str, float | None]]:
        """Return each member's mean loss and accuracy on the held-out samples."""
        stack, data = self.stack, self.dataset
        x = data.x_test.to(stack.device, stack.dtype).expand(stack.size, -1, -1)
        y = data.y_test.to(stack.device, None if self.classify else stack.dtype)
        y = y.expand(stack.size, *y.shape)
        stack.model.eval()
        loss, output = stack.losses(stack.theta, stack.buffers, x, y)
        stack.model.train()
        right = (output.argmax(-1) == y).double().mean(-1).tolist() if self.classify else None
        return [
            {"loss": value, "accuracy": None if right is None else right[m]}
            for m, value in enumerate(loss.double().tolist())
        ]
