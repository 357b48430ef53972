"""From settings to a network that is not yet initialised."""

from functools import partial

from torch import nn

from gradlab.errors import SettingsError
from gradlab.settings import Model


def build(model: Model, n_in: int, n_out: int) -> nn.Module:
    """Return the network of `model`, from `n_in` features to `n_out` outputs.

    Raises:
        SettingsError: the activation has parameters of its own, which no initialisation covers.
    """
    activation = model.activation.call
    probe = activation()
    if not isinstance(probe, nn.Module) or any(True for _ in probe.parameters()):
        raise SettingsError(
            f"model.activation={model.activation.name} is not a torch module without parameters"
        )
    return model.component.call(
        widths=[n_in, *[model.width] * model.depth, n_out],
        activation=activation,
        norm=None if model.norm.target is None else partial(model.norm.call),
        norm_position=model.norm_position,
    )
