"""All mistakes, in the order in which a training loop meets them."""

from gradlab.mistakes.mistake import Mistake

CATALOGUE: tuple[Mistake, ...] = ()
