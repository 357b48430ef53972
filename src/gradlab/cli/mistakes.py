"""The command `gradlab mistakes`."""

from collections.abc import Sequence

from gradlab.cli.arguments import split
from gradlab.errors import SettingsError, nearest

HELP = """\
gradlab mistakes              list common mistakes in training code, and measure the effect of each
                              in a broken and in a fixed program
gradlab mistakes NAME         explain one mistake: code, measured effect, reason and fix
gradlab mistakes --markdown   print all explanations as a page

Exit codes: 0 every number is as expected, 1 a number is not, 2 the command is wrong.
"""


def mistakes(arguments: Sequence[str]) -> int:
    """Run the catalogue, or one of its mistakes; return 1 if a proof does not hold."""
    flags, names = split(arguments, ("--markdown",))
    if len(names) + len(flags) > 1:
        raise SettingsError(
            f"expected at most one of NAME and --markdown, given {' '.join(arguments)}"
        )
    from gradlab.mistakes.catalogue import CATALOGUE
    from gradlab.mistakes.mistake import prove
    from gradlab.mistakes.mistake_pages import catalogue_markdown, print_catalogue, print_mistake

    known = {mistake.name: mistake for mistake in CATALOGUE}
    for name in names:
        if name not in known:
            raise SettingsError(f"{name} is not a mistake of the catalogue; {nearest(name, known)}")
    proofs = [prove(known[name]) for name in names or known]
    if names:
        print_mistake(proofs[0])
    elif flags:
        print(catalogue_markdown(proofs))
    else:
        print_catalogue(proofs)
    return 0 if all(proof.holds for proof in proofs) else 1
