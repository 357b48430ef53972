"""A laboratory for gradient pathologies in PyTorch networks.

gradlab.load(dir)             pandas frames of all runs under dir: .runs .steps .layers
gradlab.diagnose(layers)      what is wrong with a run: a list of findings
gradlab.doctor(step, ...)     common mistakes in a training step: what, where, how it knows
gradlab.check_gradients(...)  analytic gradients against finite differences
gradlab.predict(widths, ...)  what theory says of a plain network, layer by layer, without training
gradlab.phase(activation, ..) whether a wide network is ordered, critical or chaotic
gradlab.watch(model, ...)     records any network in any training loop, which stays as it is
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradlab.debugger.doctor import doctor as doctor
    from gradlab.diagnosis.verdict import diagnose as diagnose
    from gradlab.gradcheck.gradients import check_gradients as check_gradients
    from gradlab.monitor.watch import watch as watch
    from gradlab.results.load import load as load
    from gradlab.theory.mean_field import predict as predict
    from gradlab.theory.phase import phase as phase

__all__ = ["check_gradients", "diagnose", "doctor", "load", "phase", "predict", "watch"]

_HOMES = {
    "check_gradients": "gradlab.gradcheck.gradients",
    "diagnose": "gradlab.diagnosis.verdict",
    "doctor": "gradlab.debugger.doctor",
    "load": "gradlab.results.load",
    "phase": "gradlab.theory.phase",
    "predict": "gradlab.theory.mean_field",
    "watch": "gradlab.monitor.watch",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing gradlab is instant."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'gradlab' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
