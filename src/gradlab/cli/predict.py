"""gradlab predict."""

from collections.abc import Sequence

from gradlab.cli.arguments import split

HELP = """\
gradlab predict [overrides]   predict the signal and the gradient of each layer at initialisation
                              from mean-field theory: geometric means and spread over networks

Overrides: as for gradlab run.
"""


def predict(arguments: Sequence[str]) -> int:
    """Print the prediction for a plain network, and its phase."""
    _, overrides = split(arguments, config="config")
    from gradlab.config.compose import compose

    settings, _ = compose("config", overrides)
    from gradlab.data.dataset import load
    from gradlab.theory.frame import summary, table
    from gradlab.theory.mean_field import prediction

    dataset = load(settings)
    rms = float(dataset.x_train.square().mean().sqrt())
    frame, phase = prediction(settings, dataset.x_train.shape[1], dataset.n_out, rms)
    print("\n".join([*table(frame), "", *summary(frame, phase)]))
    return 0
