"""The roll of weights: what each is called, and who holds it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from gradlab.debugger.observe.trace import Weight


def roll(
    seen: Mapping[int, Tensor], roots: Sequence[nn.Module], optimizers: Sequence[Optimizer]
) -> dict[int, Weight]:
    """Return all weights of modules and optimisers by id, those of modules first."""
    held: dict[int, set[int]] = {}
    for each in optimizers:
        for group in each.param_groups:
            for w in group["params"]:
                held.setdefault(id(w), set()).add(id(each))
    found: dict[int, Weight] = {}
    tensors = dict(seen)
    for name, w, asleep in _registered(roots):
        tensors[id(w)] = w
        if id(w) not in found:
            found[id(w)] = Weight(name, tuple(w.shape), w.requires_grad, True, asleep=asleep)
    keepers: dict[int, tuple[str, str]] = {}
    for name, w, keeper in (each for root in roots for each in _hidden(root)):
        keepers[id(w)] = name, keeper
        tensors[id(w)] = w
    for key, w in tensors.items():
        if key not in found:
            name, keeper = keepers.get(key, (f"a weight of shape {list(w.shape)}", ""))
            found[key] = Weight(name, tuple(w.shape), w.requires_grad, False, keeper)
    for key, weight in found.items():
        weight.held = frozenset(held.get(key, ()))
    return found


def _registered(roots: Sequence[nn.Module]) -> Iterator[tuple[str, Tensor, bool]]:
    """Yield parameters by name; those of a smaller module that is part of another come from it."""
    inside = {id(part) for root in roots for part in root.modules() if part is not root}
    tops = [root for root in roots if id(root) not in inside]
    for root in tops:
        label = f"{type(root).__name__}." if len(tops) > 1 else ""
        for path, part in root.named_modules():
            for name, w in part.named_parameters(recurse=False):
                asleep = not part.training and root.training
                yield f"{label}{path}.{name}" if path else f"{label}{name}", w, asleep


def _hidden(root: nn.Module) -> Iterator[tuple[str, Tensor, str]]:
    """Yield weights that are kept in lists, tuples and dicts, or as attributes, unregistered."""
    for path, part in root.named_modules():
        for attribute, value in vars(part).items():
            if attribute.startswith("_") and attribute in _OWN:
                continue
            name = f"{path}.{attribute}" if path else attribute
            keeper = f"{type(part).__name__}.{attribute} ({type(value).__name__})"
            for label, w in _within(value):
                yield f"{name}{label}", w, keeper


def _within(value: Any, depth: int = 3) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, nn.Module):
        yield from ((f".{name}", w) for name, w in value.named_parameters())
    elif isinstance(value, Tensor):
        if value.is_leaf and value.requires_grad:
            yield "", value
    elif depth and isinstance(value, list | tuple | set):
        for i, each in enumerate(value):
            yield from ((f"[{i}]{label}", w) for label, w in _within(each, depth - 1))
    elif depth and isinstance(value, dict):
        for key, each in value.items():
            yield from ((f"[{key!r}]{label}", w) for label, w in _within(each, depth - 1))


_OWN = frozenset(vars(nn.Module()))  # what every module has
