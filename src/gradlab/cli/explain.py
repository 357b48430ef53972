"""The command `gradlab explain`."""

from collections.abc import Sequence
from pathlib import Path

from gradlab.cli.arguments import split
from gradlab.errors import SettingsError, nearest

HELP = """\
gradlab explain [overrides]   explain the gradient of one weight for one sample: the factors of the
                              chain rule, the weights with the largest gradients, and the effect of
                              one gradient step. The network is model=mlp, by default a small one
gradlab explain activations   draw each activation and its derivative
gradlab explain losses        draw each loss and its derivative

Overrides: as for gradlab run, and
  explain.sample=4            index of the held-out sample
  explain.layer=1             layer of the weight; 1: the first layer
  explain.weight=[from,to]    the weight; default: the weight with the largest gradient
  explain.after=0             number of training steps before the explanation
  explain.dir=explain         folder of the page
Exit codes: 0 success, 2 the command is wrong.
Try: gradlab explain model.activation=sigmoid model.depth=10
"""


def explain(arguments: Sequence[str]) -> int:
    """Explain the chain rule through one weight, or draw all functions of a kind; write a page."""
    _, overrides = split(arguments, config="explain")
    topics = [each for each in overrides if "=" not in each and each[:1] not in ("+", "~")]
    from gradlab.config.compose import compose

    settings, how = compose("explain", [each for each in overrides if each not in topics])
    from gradlab.pages.html import write
    from gradlab.pages.page import as_text
    from gradlab.pages.style import print_style

    folder = Path(how["dir"])
    if topics:
        from gradlab.explain.atlas import ATLASES

        if topics[0] not in ATLASES or len(topics) > 1:
            raise SettingsError(f"{' '.join(topics)} is not a topic; {nearest(topics[0], ATLASES)}")
        with print_style():
            story, atlas = ATLASES[topics[0]]()
            path = write(story, {"atlas": atlas}, folder / topics[0], markdown=True)
    else:
        from gradlab.data.dataset import load
        from gradlab.explain import network_figures
        from gradlab.explain.chain_rule_page import chain_rule_page
        from gradlab.explain.sample_pass import pass_sample

        found = pass_sample(settings, load(settings), how)
        story = chain_rule_page(found)
        with print_style():
            drawn = {"network": network_figures.draw_network(found)}
            if len(found.sample.layers) > 1:
                drawn["decades"] = network_figures.draw_signal(found)
            path = write(story, drawn, folder)
    print(as_text(story))
    print(f"\nThe same with its figure: {path}")
    return 0
