"""A network under observation, from the first step to the report."""

import time
import traceback
import warnings
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import torch
from torch import nn
from torch.optim.optimizer import Optimizer

from gradlab import schema
from gradlab.diagnosis.finding import Finding
from gradlab.diagnosis.profile import slope
from gradlab.diagnosis.verdict import verdict
from gradlab.errors import WatchError, first_line
from gradlab.monitor.activations import ONE_SIDED
from gradlab.monitor.attach import Choice, find_sites, unwrap
from gradlab.monitor.diagnose import configuration, findings, status
from gradlab.monitor.distributed import first_rank, ranks_of
from gradlab.monitor.failsafe import Fuse
from gradlab.monitor.optimizers import optimizers_of
from gradlab.monitor.schedule import wanted
from gradlab.monitor.signals import Signals
from gradlab.monitor.statistics import measure
from gradlab.monitor.step import Round
from gradlab.monitor.steps import Rounds
from gradlab.monitor.torch_hooks import notify
from gradlab.monitor.warnings import silence, skipping, strange
from gradlab.recording.rows import Columns, Rows
from gradlab.sinks.memory import by_depth, frame, rows_of
from gradlab.sinks.protocol import RunInfo, Sink, Sinks
from gradlab.sinks.run_folder import Parquet

_watched: weakref.WeakSet[nn.Module] = weakref.WeakSet()


class Lab:
    """A network under observation, and its record.

    Args:
        ranks: processes that average their gradients, where the model does not show it.

    Attributes:
        sites: names of the modules by depth: the one at position 1 first.
        notes: what could not be seen, in words.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Sequence[Optimizer] | None = None,
        every: int | str = 1,
        modules: Choice | Sequence[Choice] | None = None,
        sinks: Sink | Sequence[Sink] = (),
        ranks: int | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise WatchError(f"expected a torch.nn.Module to watch, given {type(model).__name__}")
        self._network = unwrap(model)
        self._ranks = ranks or ranks_of(model)
        self._optimizers = optimizers_of(optimizer, self._network)
        self._every = every
        self._sinks = Sinks(sinks, self._note)
        self._sites = find_sites(self._network, modules)
        self._signals = Signals(
            self._network, self._sites, Fuse(self._ranks == 1, self._note_failure)
        )
        self._rounds = Rounds(
            self._network, self._signals, self._optimizers, wanted(every), self._take
        )
        self._order: list[int] = []
        self._layers: list[Columns] = []
        self._steps: list[Columns] = []
        self._seen = self._optimizers or []
        self._status, self._error = "running", None
        self._began, self._started, self._seconds = time.perf_counter(), "", 0.0
        self.sites: list[str] = []
        self.notes: list[str] = []

    def __enter__(self) -> "Lab":
        if any(module in _watched for module in self._network.modules()):
            raise WatchError(
                "expected a model that is not watched, but this one is already, whole or in part; "
                "leave the other gradlab.watch first"
            )
        _watched.update(self._network.modules())
        self._status, self._began = "running", time.perf_counter()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")
        self._signals.open()
        self._rounds.open()
        self._listening = notify(self._rounds)
        self._listening.__enter__()
        if first_rank(self._ranks):
            self._sinks.open(RunInfo(record={"watched": True}))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._seconds = time.perf_counter() - self._began
        self._listening.__exit__(None, None, None)
        self._signals.close()
        _watched.difference_update(list(self._network.modules()))
        self._rounds.close(failed=error is not None)
        ended = "completed" if error is None else "interrupted"
        ended = "failed" if isinstance(error, Exception) else ended
        self._status = status(ended, self.steps())
        self._error = None if error is None else f"{type(error).__name__}: {first_line(error)}"
        self.notes += skipping(self._rounds.skipped)
        missed = [] if self._steps else strange(self._rounds.stranger)
        self.notes += missed
        if first_rank(self._ranks):
            self._sinks.finish(self._info() if self._sinks else {})
        if error is None:
            for text in missed:
                warnings.warn(text, stacklevel=2)

    def frame(self) -> pd.DataFrame:
        """Return the record of the modules: the columns of `layers.parquet`."""
        return frame(self._layers, schema.LAYERS)

    def steps(self) -> pd.DataFrame:
        """Return the record of the steps: the columns of `steps.parquet`, at recorded steps."""
        return frame(self._steps, schema.STEPS)

    def diagnose(self) -> list[Finding]:
        """Return what is wrong with the network, gravest first; an empty list if nothing is.

        Positions in a finding are places in `sites`, counted from 1.

        Raises:
            WatchError: nothing was recorded.
        """
        self._check_recorded()
        return self._findings()

    def _findings(self) -> list[Finding]:
        return findings(self.frame(), self.steps(), self._config(), self._one_sided())

    def report(self, folder: str | Path) -> Path:
        """Write the record into a folder as `gradlab run` would, and the report on it.

        A record of the same kind that is there is replaced, other runs are not.

        Returns:
            The page.

        Raises:
            StoreError: the folder holds another run, or cannot be written.
            WatchError: nothing was recorded.
        """
        from gradlab.report.report_page import write_report

        self._check_recorded()
        if first_rank(self._ranks):
            files = Parquet(folder, replace="watched")
            files.open(RunInfo(record={"watched": True}))
            for steps, layers in zip(self._steps, self._layers, strict=True):
                files.write(Rows(steps, layers))
            files.finish(self._info())
            write_report(folder)
        return Path(folder) / "report" / "index.html"

    def _check_recorded(self) -> None:
        if not self._started:
            raise WatchError("expected `with gradlab.watch(...) as lab:` around the loop")
        if not self._layers:
            raise WatchError("expected a recorded step, but no optimiser has made one yet")

    def _take(self, found: Round) -> None:
        """Keep a recorded round, and hand it on."""
        table = measure(self._sites, found, self._ranks)
        if not self._order:
            self._order = by_depth(len(self._sites), self._signals.order)
            self.sites = [self._sites[i].name or "model" for i in self._order]
            for text in silence(self._sites, found):
                self._note(text)
        self._seen = self._seen or list(found.stepped)
        self._seconds = time.perf_counter() - self._began
        rows = rows_of(found.step, self.sites, table[[*self._order, -1]], found.lr, self._seconds)
        assert rows.layers is not None
        self._layers.append(rows.layers)
        self._steps.append(rows.steps)
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
        return configuration(self._network, self._seen, self._every)

    def _one_sided(self) -> list[str]:
        """Return the sites whose activation is flat on one side."""
        return [
            self._sites[i].name
            for i, phi in self._signals.phi.items()
            if isinstance(phi, ONE_SIDED)
        ]

    def _info(self) -> dict[str, Any]:
        found = self._findings()
        layers = self.frame()
        return {
            "watched": True,
            "status": self._status,
            "verdict": verdict(self._status, found) if len(layers) else None,
            "findings": [each.as_dict() for each in found],
            "slope": slope(layers),
            "seed": torch.initial_seed(),
            "config": self._config(),
            "config_hash": None,
            "timings": {"started": self._started, "seconds": self._seconds},
            "error": self._error,
            "notes": self.notes,
            "steps": int(layers["step"].max()) + 1 if len(layers) else 0,
        }
