"""A laboratory for gradient pathologies in PyTorch networks.

gradlab.watch(model, ...)     record the gradients of any network in any training loop
gradlab.load(dir)             read all runs under a folder as pandas frames: .runs .steps .layers
gradlab.diagnose(run)         the findings of a run: its folder, loaded results, a frame, a monitor
gradlab.replay(folder, ...)   repeat the steps that gradlab.watch(..., black_box=folder) stored
gradlab.doctor(step, ...)     find common mistakes in a training step
gradlab.check_gradients(...)  compare analytic gradients with finite differences
gradlab.predict(widths, ...)  predict a network at initialisation from theory, layer by layer
gradlab.phase(activation, ..) classify wide networks as ordered, critical or chaotic
gradlab.sinks                 destinations of recorded rows
gradlab.integrations          callbacks: .lightning for PyTorch Lightning, .huggingface for Trainer
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlab import integrations as integrations
    from gradlab import sinks as sinks
    from gradlab.black_box.step_memory import BlackBox as BlackBox
    from gradlab.debugger.examine import doctor as doctor
    from gradlab.debugger.repeated_steps import replay as replay
    from gradlab.diagnosis.diagnose import diagnose as diagnose
    from gradlab.diagnosis.finding import Finding as Finding
    from gradlab.diagnosis.finding import Findings as Findings
    from gradlab.errors import GradlabError as GradlabError
    from gradlab.gradcheck.gradients import check_gradients as check_gradients
    from gradlab.monitor.monitor import Monitor as Monitor
    from gradlab.monitor.monitor import watch as watch
    from gradlab.results.load import load as load
    from gradlab.theory.mean_field import predict as predict
    from gradlab.theory.phase import phase as phase

    __version__: str

__all__ = [
    "BlackBox",
    "Finding",
    "Findings",
    "GradlabError",
    "Monitor",
    "__version__",
    "check_gradients",
    "diagnose",
    "doctor",
    "integrations",
    "load",
    "phase",
    "predict",
    "replay",
    "sinks",
    "watch",
]

_DEFINED_IN = {
    "BlackBox": "gradlab.black_box.step_memory",
    "Finding": "gradlab.diagnosis.finding",
    "Findings": "gradlab.diagnosis.finding",
    "GradlabError": "gradlab.errors",
    "Monitor": "gradlab.monitor.monitor",
    "check_gradients": "gradlab.gradcheck.gradients",
    "diagnose": "gradlab.diagnosis.diagnose",
    "doctor": "gradlab.debugger.examine",
    "load": "gradlab.results.load",
    "phase": "gradlab.theory.phase",
    "predict": "gradlab.theory.mean_field",
    "replay": "gradlab.debugger.repeated_steps",
    "watch": "gradlab.monitor.monitor",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `import gradlab` is instant."""
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("gradlab")
    if name in ("integrations", "sinks"):
        return import_module(f"gradlab.{name}")
    if name not in _DEFINED_IN:
        raise AttributeError(f"module 'gradlab' has no attribute {name!r}")
    return getattr(import_module(_DEFINED_IN[name]), name)


def __dir__() -> list[str]:
    """Return the public names, for tab completion."""
    return __all__
