"""Choose the modules to watch in a network, and find their weights and biases."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import reduce

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import (  # the base classes of all dimensions
    _ConvNd,  # pyright: ignore[reportPrivateUsage]
    _ConvTransposeNd,  # pyright: ignore[reportPrivateUsage]
)
from torch.nn.parameter import is_lazy

from gradlab.errors import WatchError, nearest

Choice = type[nn.Module] | str | Callable[[str, nn.Module], bool]
CHANNELS_FIRST = (_ConvNd, _NormBase, nn.GroupNorm)
INPUT_FIRST = (nn.Embedding, nn.EmbeddingBag, _ConvTransposeNd)
"""Modules whose weight has the units in its second dimension, like transformers' `Conv1D`."""


@dataclass(frozen=True)
class WatchedModule:
    """A watched module.

    Its parameters are looked up by name at each step, because a wrapper may replace them.

    Attributes:
        name: Dotted name, as in `named_modules()` of the network without wrappers.
        module: The module that owns the parameters.
        output_of: The module whose output is recorded; None if no output is recorded.
        weights: Names of its parameters with two or more dimensions. If it has none: names of all
            its parameters except biases.
        biases: Names of its parameters that contain "bias".
    """

    name: str
    module: nn.Module
    output_of: nn.Module | None
    weights: tuple[str, ...]
    biases: tuple[str, ...]

    def all_weights(self) -> list[Tensor]:
        """Return the current weights."""
        return _current(self.module, self.weights)

    def all_biases(self) -> list[Tensor]:
        """Return the current biases."""
        return _current(self.module, self.biases)

    @property
    def channels(self) -> int:
        """The dimension of the units in the output."""
        return 1 if isinstance(self.module, CHANNELS_FIRST) else -1

    @property
    def has_units_second(self) -> bool:
        """Whether the weight has the shape [input, unit] instead of [unit, input]."""
        kind = type(self.module)
        is_conv1d = kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers")
        return is_conv1d or isinstance(self.module, INPUT_FIRST)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside `DistributedDataParallel` and `torch.compile`."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if type(model).__name__ == "DistributedDataParallel":
            inner = model.module
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def find_modules(
    model: nn.Module, chosen: Choice | Sequence[Choice] | None = None
) -> list[WatchedModule]:
    """Find the modules to watch.

    Args:
        model: The network, without wrappers.
        chosen: Types, patterns of names (`"h.*.mlp.*"`) or predicates `f(name, module)`; None
            chooses every module that owns a parameter with two or more dimensions.

    Returns:
        The modules, in the order of registration.

    Raises:
        WatchError: No module matches, or a lazy parameter has no shape yet.
    """
    named = [
        (name.replace("_orig_mod.", ""), module)
        for name, module in model.named_modules()
        if ".parametrizations." not in f".{name}."
    ]
    if lazy := [name for name, p in model.named_parameters() if is_lazy(p)]:
        raise WatchError(
            f"expected parameters with a shape, but {lazy[0]} is lazy; "
            "put one batch through the model first"
        )
    if chosen is None:
        picked = [(name, module) for name, module in named if owns_weights(module)]
    else:
        is_list = isinstance(chosen, Sequence) and not isinstance(chosen, str)
        choices: Sequence[Choice] = chosen if is_list else [chosen]  # pyright: ignore
        picked = [(n, m) for n, m in named if any(_matches(c, n, m) for c in choices)]
    if not picked:
        raise WatchError(_describe_no_match([name for name, _ in named if name], chosen))
    watched = {id(module) for _, module in picked}
    containers = {id(m) for _, m in picked for n in m.modules() if n is not m if id(n) in watched}
    parents = {id(child): parent for _, parent in named for child in parent.children()}
    return [
        _watched_module(
            name,
            module,
            _output_module(module, parents.get(id(module)), containers, chosen is None),
        )
        for name, module in picked
    ]


def owns_weights(module: nn.Module) -> bool:
    """Return whether a module owns a parameter with two or more dimensions."""
    return any(map(_is_matrix, _owned(module)))


def _current(module: nn.Module, names: Sequence[str]) -> list[Tensor]:
    """Return the parameters with these dotted names that still exist."""
    values = [reduce(lambda at, part: getattr(at, part, None), n.split("."), module) for n in names]
    return [p for p in values if isinstance(p, Tensor)]


def _owned(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Return names and parameters that a module and its parametrisations own."""
    parameters: list[tuple[str, Tensor]] = list(module.named_parameters(recurse=False))
    inner = getattr(module, "parametrizations", None)
    if isinstance(inner, nn.ModuleDict):
        parameters += [(f"parametrizations.{name}", p) for name, p in inner.named_parameters()]
    return parameters


def _is_matrix(named: tuple[str, Tensor]) -> bool:
    return named[1].ndim >= 2 and "bias" not in named[0]


def _matches(choice: Choice, name: str, module: nn.Module) -> bool:
    """Return whether a choice includes a module.

    Args:
        choice: A type, a pattern of names or a predicate.
        name: The module's dotted name.
        module: The module.

    Returns:
        Whether the type, the pattern or the predicate matches.
    """
    if isinstance(choice, str):
        return fnmatchcase(name, choice)
    return isinstance(module, choice) if isinstance(choice, type) else choice(name, module)


def _output_module(
    module: nn.Module, parent: nn.Module | None, containers: set[int], default: bool
) -> nn.Module | None:
    """Choose the module whose output is recorded for a watched module.

    This is the module itself, with two exceptions. `nn.MultiheadAttention` uses the weights of its
    last projection without calling it, so the output of the attention is recorded. By default, a
    module that contains other watched modules has no recorded output.

    Args:
        module: The watched module.
        parent: The module that contains it.
        containers: Ids of the modules that contain other watched modules.
        default: Whether the modules were chosen by default.

    Returns:
        The module; None if no output is recorded.
    """
    if isinstance(parent, nn.MultiheadAttention) and module is parent.out_proj:
        return parent
    return None if default and id(module) in containers else module


def _watched_module(name: str, module: nn.Module, output_of: nn.Module | None) -> WatchedModule:
    """Sort the parameters of a module into weights and biases.

    Args:
        name: The module's dotted name.
        module: The module.
        output_of: The module whose output is recorded; None if no output is recorded.

    Returns:
        The module with the names of its parameters.
    """
    parameters = _owned(module)
    biases = tuple(key for key, _ in parameters if "bias" in key)
    matrices = tuple(pair[0] for pair in parameters if _is_matrix(pair))
    others = tuple(key for key, _ in parameters if key not in biases)
    return WatchedModule(name, module, output_of, matrices or others, biases)


def _describe_no_match(names: Sequence[str], chosen: object) -> str:
    if chosen is None:
        return "expected a network with weights of two or more dimensions, but it has none"
    hint = nearest(chosen, names) if isinstance(chosen, str) and names else ""
    return f"expected modules to watch, but none matches {chosen!r}{'; ' + hint if hint else ''}"
