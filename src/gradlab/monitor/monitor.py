"""`gradlab.watch`: records the gradients of any PyTorch network in any training loop."""

import time
import traceback
import warnings
import weakref
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.optimizer import Optimizer

from gradlab.diagnosis.diagnose import diagnose
from gradlab.diagnosis.finding import Findings
from gradlab.diagnosis.grid import overflowed, slope
from gradlab.errors import WatchError, first_line
from gradlab.monitor.activations import ONE_SIDED
from gradlab.monitor.attach import Choice, WatchedModule, find_modules, unwrap
from gradlab.monitor.distributed import first_rank, ranks_of
from gradlab.monitor.failsafe import Failures
from gradlab.monitor.optimizers import WatchedOptimizers, configuration
from gradlab.monitor.signals import WatchedSignals
from gradlab.monitor.statistics import by_depth, measure, rows_of
from gradlab.monitor.step import WatchedStep
from gradlab.monitor.steps import StepTracker, schedule
from gradlab.results.context import ALONE, attach
from gradlab.sinks.memory import Memory
from gradlab.sinks.protocol import RunInfo, Sink, Sinks
from gradlab.sinks.run_folder import Parquet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_watched: weakref.WeakSet[nn.Module] = weakref.WeakSet()
SHOWN = 5  # names of modules in a warning


def watch(
    model: nn.Module,
    optimizer: Optimizer | LRScheduler | Sequence[Optimizer] | None = None,
    *,
    every: int | str = 1,
    modules: Choice | Sequence[Choice] | None = None,
    sinks: Sink | Sequence[Sink] = (),
) -> "Monitor":
    """Record the gradients and signals of each module of a network while it trains.

    The training loop stays as it is, and computes the same numbers to the last bit. A step is an
    optimiser step. Gradients of parameters are read once a step, when they are complete:
    accumulated, averaged over processes and unscaled, but not yet clipped. `docs/watch.md` lists
    the meaning of each column of `gradlab.schema` for a network that gradlab did not build.

    Args:
        model: Any network, also inside `DistributedDataParallel`, `fully_shard` or
            `torch.compile`.
        optimizer: The optimiser, or a learning rate scheduler of it; or several, each of which
            makes one update in a step. None counts each update of the model by any optimiser as a
            step.
        every: Record each N-th step; "log" records ten steps a decade.
        modules: Modules to record: types, patterns of names ("h.*.mlp.*"), or predicates
            f(name, module). None records all modules that own a weight of two or more dimensions.
        sinks: Destinations of the rows besides memory; see `gradlab.sinks`.

    Returns:
        A monitor: use it in a `with` statement around the loop, or call `start()` and `stop()`.

    Raises:
        WatchError: The model is already watched or cannot be watched, or an argument is invalid.

    Example:
        >>> import torch, gradlab
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with gradlab.watch(model, optimizer) as monitor:
        ...     for _ in range(20):
        ...         optimizer.zero_grad()
        ...         x = torch.randn(8, 4)
        ...         (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
        ...         optimizer.step()
        >>> monitor
        Monitor(Sequential, completed, 20 recorded steps, 2 modules)
        >>> monitor.frame()["module"].unique().tolist()
        ['0', '2']
    """
    return Monitor(model, optimizer, every, modules, sinks)


@dataclass
class _Session:
    """The time from `start` to `stop`, and how the training ended.

    Attributes:
        status: One of `schema.STATUSES`.
        error: The exception that ended the training, in one line.
        started: Date and time of the first start; empty before it.
        began: Clock at the start, less the seconds of earlier sessions.
        seconds: Duration up to the last recorded step, or to the stop.
        hooks: Removes the hooks when it closes; None while stopped.
    """

    status: str = "running"
    error: str | None = None
    started: str = ""
    began: float = 0.0
    seconds: float = 0.0
    hooks: ExitStack | None = field(default=None, repr=False)

    def start(self) -> ExitStack:
        """Start or resume; return the stack for the hooks."""
        self.status, self.error = "running", None
        self.began = time.perf_counter() - self.seconds
        self.started = self.started or datetime.now(UTC).isoformat(timespec="seconds")
        self.hooks = ExitStack()
        return self.hooks

    def elapse(self) -> float:
        """Update and return the duration."""
        self.seconds = time.perf_counter() - self.began
        return self.seconds

    def stop(self, error: BaseException | None) -> None:
        """Remove the hooks, and set status and error."""
        self.elapse()
        if self.hooks is not None:
            self.hooks.close()
        self.hooks = None
        ended = "completed" if error is None else "interrupted"
        self.status = "failed" if isinstance(error, Exception) else ended
        self.error = None if error is None else f"{type(error).__name__}: {first_line(error)}"


class Monitor:
    """The record of a watched network; made by `gradlab.watch`, whose arguments it has.

    Args:
        ranks: Number of processes that average their gradients; None reads it from the model.

    Attributes:
        notes: What could not be recorded, one line each.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | LRScheduler | Sequence[Optimizer] | None = None,
        every: int | str = 1,
        modules: Choice | Sequence[Choice] | None = None,
        sinks: Sink | Sequence[Sink] = (),
        ranks: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise WatchError(f"expected a torch.nn.Module to watch, given {type(model).__name__}")
        self.notes: list[str] = []
        self._network, self._every = unwrap(model), every
        _check_not_watched(self._network)
        self._ranks = ranks or ranks_of(model)
        self._sinks = Sinks(sinks, self._note)
        optimizers = WatchedOptimizers(optimizer, self._network)
        failures = Failures(self._ranks == 1, self._note_failure)
        self._signals = WatchedSignals(
            self._network, find_modules(self._network, modules), failures
        )
        self._tracker = StepTracker(self._signals, optimizers, schedule(every), self._record)
        self._memory, self._session = Memory(), _Session()
        self._order: list[int] = []

    def start(self) -> "Monitor":
        """Start or resume recording, for a loop that a `with` statement cannot enclose.

        In a notebook, call `monitor.start()` in one cell, train in others, and call
        `monitor.stop()` at the end.

        Raises:
            WatchError: The model is already watched, by this monitor or another one.
        """
        _check_not_watched(self._network)
        _watched.update(self._network.modules())
        hooks = self._session.start()
        hooks.callback(lambda: _watched.difference_update(list(self._network.modules())))
        hooks.enter_context(self._signals.observe())
        hooks.enter_context(self._tracker.observe())
        if first_rank(self._ranks):
            self._sinks.open(RunInfo(record={"watched": True}))
        return self

    def stop(self) -> None:
        """Stop recording and finish the sinks; without effect if the monitor is stopped."""
        self._stop(None)

    def __enter__(self) -> "Monitor":
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop(error)

    def _stop(self, error: BaseException | None) -> None:
        if self._session.hooks is None:
            return
        self._session.stop(error)
        self._tracker.finish(failed=error is not None)
        last = self.steps().tail(1)
        lost = any(overflowed(last, name).any() for name in ("loss", "grad_norm"))
        if lost and self._session.status == "completed":
            self._session.status = "diverged"
        self.notes += _describe_skipped_steps(self._tracker.skipped)
        self._tracker.skipped = 0
        missed = [] if self._order else _describe_unknown_optimizer(self._tracker.optimizers)
        self.notes += missed
        if first_rank(self._ranks):
            self._sinks.finish(self._info() if self._sinks else {})
        for text in missed if error is None else ():
            warnings.warn(text, stacklevel=3)

    @property
    def modules(self) -> list[str]:
        """Names of the recorded modules, the one nearest the input first."""
        return [self._signals.modules[index].name or "model" for index in self._order]

    def frame(self) -> pd.DataFrame:
        """Return a row per recorded step and module: the columns of `layers.parquet`."""
        return attach(self._memory.layers(), {ALONE: self._diagnosis_info()}, self.steps())

    def steps(self) -> pd.DataFrame:
        """Return a row per recorded step: the columns of `steps.parquet`."""
        return self._memory.steps()

    @property
    def findings(self) -> Findings:
        """The findings so far, gravest first: `gradlab.diagnose` of the recorded frame.

        Positions in a finding count `modules` from 1.

        Raises:
            WatchError: Nothing was recorded.
        """
        self._check_recorded()
        return diagnose(self.frame())

    def diagnose(self) -> Findings:
        """Return `findings`."""
        return self.findings

    def figure(self, name: str) -> "Figure":
        """Draw a figure of the record so far; a notebook displays it.

        Args:
            name: "signal" (error signal over depth), "gradients" (weight gradients over depth),
                "timeline" (error signal over depth and steps) or "loss".

        Raises:
            WatchError: The name is unknown, or nothing was recorded.
        """
        from gradlab.report.watch_figures import draw_watched

        self._check_recorded()
        title = f"{type(self._network).__name__}: {self.findings.verdict}"
        return draw_watched(name, self.frame(), self.steps(), title)

    def report(self, folder: str | Path) -> Path:
        """Write the record into a folder, with the files of a run of `gradlab run`, and its report.

        An earlier record of a watched network in the folder is replaced.

        Args:
            folder: A new or empty folder, or one with such a record.

        Returns:
            Path of the page.

        Raises:
            StoreError: The folder contains another run, or cannot be written.
            WatchError: Nothing was recorded.
        """
        from gradlab.report.report_page import write_report

        self._check_recorded()
        if first_rank(self._ranks):
            files = Parquet(folder, replace="watched")
            files.open(RunInfo(record={"watched": True}))
            for rows in self._memory.rows:
                files.write(rows)
            files.finish(self._info())
            write_report(folder)
        return Path(folder) / "report" / "index.html"

    def __repr__(self) -> str:
        state = self._session.status if self._session.started else "not started"
        count = len(self._memory.rows)
        steps = f"{count} recorded step{'' if count == 1 else 's'}"
        network = type(self._network).__name__
        return f"Monitor({network}, {state}, {steps}, {len(self._signals.modules)} modules)"

    def __str__(self) -> str:
        if not self._order:
            return repr(self)
        return "\n".join([repr(self), str(self.findings), *self.notes])

    def _repr_html_(self) -> str:
        """Return the state, a table of the findings and the notes, for a notebook."""
        parts = [f"<p><b>{escape(repr(self))}</b></p>"]
        if self._order:
            parts.append(self.findings.to_html())
        return "".join([*parts, *(f"<p>{escape(note)}</p>" for note in self.notes)])

    def _check_recorded(self) -> None:
        if not self._session.started:
            raise WatchError("expected `with gradlab.watch(...) as monitor:` around the loop")
        if not self._order:
            raise WatchError("expected a recorded step, but no optimiser has made one yet")

    def _record(self, step: WatchedStep) -> None:
        """Write a recorded step to memory and to the sinks."""
        modules = self._signals.modules
        layers_SC, of_step = measure(modules, step, self._ranks)
        if not self._order:
            self._order = by_depth(len(modules), self._signals.order)
            for text in _describe_silent_modules(modules, step):
                self._note(text)
        seconds = self._session.elapse()
        rows = rows_of(step, self.modules, layers_SC[self._order], of_step, seconds)
        self._memory.write(rows)
        if first_rank(self._ranks):
            self._sinks.write(rows)

    def _note(self, text: str) -> None:
        self.notes.append(text)
        warnings.warn(text, stacklevel=2)

    def _note_failure(self, error: Exception) -> None:
        place = traceback.extract_tb(error.__traceback__)[-1]
        self._note(
            f"watching failed, the training goes on and the record ends: {type(error).__name__}: "
            f"{first_line(error)} ({Path(place.filename).name}:{place.lineno})"
        )

    def _config(self) -> dict[str, Any]:
        first = self._tracker.optimizers.first
        return configuration(self._network, [first] if first else [], self._every)

    def _diagnosis_info(self) -> dict[str, Any]:
        """Return the entries of `run.json` that a diagnosis needs."""
        one_sided = [
            self._signals.modules[index].name or "model"
            for index, phi in self._signals.phi.items()
            if isinstance(phi, ONE_SIDED)
        ]
        return {
            "watched": True,
            "status": self._session.status,
            "config": self._config(),
            "one_sided": one_sided,
        }

    def _info(self) -> dict[str, Any]:
        layers = self.frame()
        found = self.findings if len(layers) else Findings()
        return self._diagnosis_info() | {
            "verdict": found.verdict if len(layers) else None,
            "findings": found.as_dicts(),
            "slope": slope(layers),
            "seed": torch.initial_seed(),
            "config_hash": None,
            "timings": {"started": self._session.started, "seconds": self._session.seconds},
            "error": self._session.error,
            "notes": self.notes,
            "steps": int(layers["step"].max()) + 1 if len(layers) else 0,
        }


def _check_not_watched(network: nn.Module) -> None:
    if any(module in _watched for module in network.modules()):
        raise WatchError(
            "expected a model that is not watched, but this one is already, whole or in part; "
            "call `monitor.stop()` of its monitor first"
        )


def _describe_silent_modules(modules: Sequence[WatchedModule], step: WatchedStep) -> list[str]:
    """Return a line about modules with a gradient and without a signal; none if there are none."""
    called = {call.index for call in step.calls}
    silent = [
        watched.name
        for index, watched in enumerate(modules)
        if index not in called and watched.output_of is not None
        if any(id(p) in step.readings for p in [*watched.all_weights(), *watched.all_biases()])
    ]
    if not silent:
        return []
    names = ", ".join(silent[:SHOWN]) + (", …" if len(silent) > SHOWN else "")
    return [
        f"no signals from {len(silent)} of {len(modules)} modules, which run inside torch.compile, "
        f"without being called, without a backward(), or give no dense tensor: {names}; only "
        "their parameters are recorded"
    ]


def _describe_skipped_steps(count: int) -> list[str]:
    """Return a line about steps that a `GradScaler` has skipped; none if there are none."""
    if not count:
        return []
    steps = "1 step was" if count == 1 else f"{count} steps were"
    return [f"{steps} skipped by a GradScaler, and not recorded"]


def _describe_unknown_optimizer(optimizers: WatchedOptimizers) -> list[str]:
    """Return a line about an optimiser that was not given to `watch`; none if there is none."""
    if optimizers.unknown is None:
        return []
    return [
        f"nothing was recorded: the optimiser that made the steps ({optimizers.unknown}) was not "
        "given to gradlab.watch; give that one, or none for any"
    ]
