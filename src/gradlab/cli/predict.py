"""The command `gradlab predict`."""

from collections.abc import Sequence

from gradlab.cli.arguments import split

HELP = """\
gradlab predict [overrides]   predict the signal and the gradient of each layer before the training,
                              from the theory of wide networks (mean field): mean and spread over
                              random weights. It covers model=mlp and model=resmlp

Overrides: as for gradlab run.
Exit codes: 0 success; 2 the command is wrong, or theory does not cover the network.
Try: gradlab predict model.activation=sigmoid model.depth=10
"""


def predict(arguments: Sequence[str]) -> int:
    """Print the prediction for a network, and its phase if it is plain."""
    _, overrides = split(arguments, config="config")
    from gradlab.config.compose import compose

    settings, _ = compose("config", overrides)
    from gradlab.data.dataset import load
    from gradlab.theory.frame import prediction_lines, summary_lines
    from gradlab.theory.mean_field import predict_settings

    dataset = load(settings)
    rms = float(dataset.x_train.square().mean().sqrt())
    frame, phase = predict_settings(settings, dataset.x_train.shape[1], dataset.n_out, rms)
    print("\n".join([*prediction_lines(frame), "", *summary_lines(frame, phase)]))
    return 0
