"""The labels that the tools gave a network, and whether they are right."""

from collections.abc import Mapping
from dataclasses import dataclass

from diagnosis.networks import Network


@dataclass(frozen=True)
class Answer:
    """A network, and by tool the labels that it was given; none means healthy."""

    network: Network
    given: Mapping[str, frozenset[str]]

    def noticed(self, tool: str) -> bool:
        """Return whether the tool gave a label exactly if the network has a fault."""
        return bool(self.given[tool]) == self.network.sick

    def named(self, tool: str) -> bool:
        """Return whether the tool gave one of the network's labels, or none to a healthy one."""
        if not self.network.sick:
            return not self.given[tool]
        return bool(self.given[tool] & self.network.truth)
