"""gradlab predict."""

from collections.abc import Sequence

from gradlab.cli.arguments import split
from gradlab.config.compose import compose

HELP = """\
gradlab predict [overrides]   what mean-field theory says of the configured network, layer by layer,
                              without training: geometric means and spread over networks

Overrides: those of gradlab run.
"""


def predict(arguments: Sequence[str]) -> int:
    """Print the prediction for a plain network, and its phase."""
    flags, overrides = split(arguments, ("--help", "-h"))
    if flags:
        print(HELP, end="")
        return 0
    settings, _ = compose("config", overrides)
    from gradlab.data.dataset import load
    from gradlab.theory.frame import table, told
    from gradlab.theory.mean_field import prediction

    dataset = load(settings)
    rms = float(dataset.x_train.square().mean().sqrt())
    frame, phase = prediction(settings, dataset.x_train.shape[1], dataset.n_out, rms)
    print("\n".join([*table(frame), "", *told(frame, phase)]))
    return 0
