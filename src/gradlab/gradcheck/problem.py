"""loss(model(*inputs), target) as a function of NumPy arrays, evaluated in float64."""

import copy
import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from gradlab.errors import CheckError, first_line
from gradlab.reference.activation_functions import Array


@dataclass(frozen=True)
class ModuleCall:
    """One call of a module.

    Attributes:
        name: the name of the module.
        module: the module.
        args: detached copies of the arguments.
        kwargs: detached copies of the keyword arguments.
    """

    name: str
    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Observer(TorchFunctionMode):
    """Records the calls of a model, and checks that it computes finite numbers in float64.

    A context manager. Only values that depend on parameters are checked: a mask may have any dtype.

    Args:
        model: the model, in float64.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls: list[ModuleCall] = []
        self.inside: list[str] = []
        self._hooks = ExitStack()

    def __enter__(self) -> "Observer":
        for name, module in self.model.named_modules():
            for handle in (
                module.register_forward_pre_hook(partial(self._enter, name), with_kwargs=True),
                module.register_forward_hook(partial(self._leave, name)),
            ):
                self._hooks.callback(handle.remove)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._hooks.close()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run an operation, and check that results that depend on parameters are float64."""
        out = func(*args, **(kwargs or {}))
        for tensor in tensors(out):
            if tensor.requires_grad and tensor.dtype != torch.float64:
                raise CheckError(
                    f"{self.running_module()} computes in {_dtype_name(tensor.dtype)}, by "
                    f"{_function_name(func)}: finite differences need float64 throughout"
                    f"{self._list_parameters()}"
                )
        return out

    def running_module(self) -> str:
        """Return the name of the innermost module that is running, or the model's class."""
        name = self.inside[-1] if self.inside else ""
        return name or type(self.model).__name__

    def _list_parameters(self) -> str:
        """Return a clause with the parameters of the running module, empty if it has none."""
        module = self.model.get_submodule(self.inside[-1] if self.inside else "")
        names = [name for name, _ in module.named_parameters()]
        return f"; parameters concerned: {', '.join(names[:4])}" if names else ""

    def _enter(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Record a call of a module, before its forward pass.

        Args:
            name: the name of the module.
            module: the module.
            args: the arguments.
            kwargs: the keyword arguments.
        """
        self.inside.append(name)
        self.calls.append(ModuleCall(name, module, *_detached_copies((args, kwargs))))

    def _leave(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        """Check the output of a module, after its forward pass.

        Args:
            name: the name of the module.
            module: the module.
            args: the arguments.
            output: the output.

        Raises:
            CheckError: the output is not finite.
        """
        self.inside.pop()
        for tensor in tensors(output):
            if not tensor.isfinite().all():
                label = name or type(module).__name__
                raise CheckError(
                    f"the output of {label} is not finite: there is no gradient to check"
                )


def tensors(tree: Any) -> list[Tensor]:
    """Return the floating-point tensors in any nesting of tuples, lists and dicts."""
    return [v for v in tree_leaves(tree) if isinstance(v, Tensor) and v.is_floating_point()]


def _detached_copies(tree: Any) -> Any:
    return tree_map(lambda v: v.detach().clone() if isinstance(v, Tensor) else v, tree)


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _function_name(func: Callable[..., Any]) -> str:
    return getattr(func, "__name__", str(func)).strip("_")


USER_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors of models and losses that do not accept a shape, a dtype or a value."""

TorchLoss = Callable[[Any, Any], Any]


class Problem:
    """loss(model(*inputs), target) as a function of arrays, with a float64 copy of the model.

    `arrays` contains the parameters and floating-point inputs by name. They share memory with the
    copy: a change of an element changes the next value.

    Args:
        model: the network; it is not changed.
        inputs: its arguments.
        target: the second argument of the loss.
        loss: returns one number for (output, target).
        seed: the seed of torch's generator at each evaluation.

    Raises:
        CheckError: the model cannot be copied, or a parameter is not a real number.
    """

    def __init__(
        self, model: nn.Module, inputs: Sequence[Any], target: Any, loss: TorchLoss, seed: int
    ) -> None:
        if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
            raise CheckError("a scripted model cannot be checked: use the original module")
        for name, parameter in model.named_parameters():
            if isinstance(parameter, nn.parameter.UninitializedParameter):
                raise CheckError(f"{name} is not initialised: run the model once first")
            if parameter.requires_grad and not parameter.is_floating_point():
                raise CheckError(f"{name} is {parameter.dtype}: expected real numbers")
        try:
            self.model = copy.deepcopy(model).double().cpu()
            self.loss = copy.deepcopy(loss).double().cpu() if isinstance(loss, nn.Module) else loss
        except USER_ERRORS as error:
            raise CheckError(f"the model cannot be copied: {first_line(error)}") from error
        self.unchecked_hooks = _copy_hooks(model, self.model)
        self.inputs: list[Any] = [tree_map(_double, each) for each in inputs]
        self.target, self.seed = tree_map(_double, target), seed
        self.buffers = [(b, b.clone()) for b in self.model.buffers()]
        self.leaves: dict[str, Tensor] = {}
        for i, each in enumerate(tensors(self.inputs)):
            self.leaves["input" if i == 0 else f"input {i + 1}"] = each.requires_grad_()
        self.leaves |= {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.arrays: dict[str, Array] = {n: p.detach().numpy() for n, p in self.leaves.items()}

    @property
    def parameters(self) -> list[str]:
        """The names of the parameters that are trained."""
        return [name for name, p in self.model.named_parameters() if p.requires_grad]

    @property
    def frozen(self) -> list[str]:
        """The names of the parameters that are not trained."""
        return [name for name, p in self.model.named_parameters() if not p.requires_grad]

    def value(self) -> float:
        """Return the loss at the current values of the arrays."""
        with torch.no_grad():
            return float(self._loss())

    def gradients(self) -> tuple[Mapping[str, Array | None], Observer]:
        """Compute the gradients with autograd.

        Returns:
            The gradient of each array by name, None where no gradient arrives; and the observer of
            the forward pass.

        Raises:
            CheckError: the loss or its backward pass fails, is random, or has no gradient.
        """
        observer = Observer(self.model)
        with torch.enable_grad():
            with observer:
                self._loss()
            loss = self._loss()  # without the observer, which would disturb checkpoints
        if not loss.requires_grad:
            raise CheckError("the loss does not depend on any parameter by way of autograd")
        try:
            leaves = list(self.leaves.values())
            grads: Any = torch.autograd.grad(loss, leaves, allow_unused=True)
        except USER_ERRORS as error:
            raise CheckError(f"the backward pass fails: {first_line(error)}") from error
        first, second = self.value(), self.value()
        if first != second:
            raise CheckError(
                f"the loss is random: at the same weights it is {first!r}, then {second!r}; "
                "the check can only fix torch's default generator"
            )
        arrays = [None if grad is None else grad.to_dense().numpy() for grad in grads]
        return dict(zip(self.leaves, arrays, strict=True)), observer

    def notes(self) -> list[str]:
        """Return notes on parameters and hooks that are not checked."""
        notes: list[str] = []
        if self.frozen:
            notes.append(f"{', '.join(self.frozen)}: frozen, so there is no gradient to check")
        if self.unchecked_hooks:
            notes.append(
                f"{', '.join(self.unchecked_hooks)}: hooks after accumulation are not checked"
            )
        return notes

    def loss_problem(self) -> "Problem | None":
        """Return the loss as a function of the network's output, None if it is not a tensor."""
        with torch.no_grad(), _seeded(self.seed):
            output: Any = self.model(*tree_map(_clone, self.inputs))
        if not isinstance(output, Tensor):
            return None
        return Problem(nn.Identity(), [output], self.target, self.loss, self.seed)

    def _loss(self) -> Tensor:
        with _seeded(self.seed):
            # A model may change its inputs and buffers in place.
            inputs: list[Any] = tree_map(_clone, self.inputs)
            with torch.no_grad():
                for buffer, saved in self.buffers:
                    buffer.copy_(saved)
            try:
                output = self.model(*inputs)
            except USER_ERRORS as error:
                message = f"the model cannot be run in float64: {first_line(error)}"
                raise CheckError(message) from error
            _check_targets(output, self.target)
            try:
                with warnings.catch_warnings():
                    warnings.filterwarnings("error", message="Using a target size")
                    loss = self.loss(output, self.target)
            except (*USER_ERRORS, UserWarning) as error:
                pair = _describe_pair(output, self.target)
                raise CheckError(f"the loss does not accept {pair}: {first_line(error)}") from error
        if isinstance(loss, Tensor) and loss.is_complex():
            raise CheckError("expected a loss that is a real number, given a complex one")
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            kind = f"shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise CheckError(f"expected a loss that is one number, given {kind}: take its mean")
        if not loss.isfinite():
            raise CheckError(f"the loss is {float(loss)}: there is no gradient to check")
        return loss.reshape(())


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """Seed torch's generator, and restore its state at the end."""
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(state)


@contextmanager
def one_thread() -> Generator[None]:
    """Compute on one thread: faster for small networks, and sums always have the same order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check_targets(output: Any, target: Any) -> None:
    """Raise CheckError if the targets would be broadcast against outputs of another shape."""
    if isinstance(output, Tensor) and isinstance(target, Tensor) and target.is_floating_point():
        differ = target.ndim and output.ndim and target.shape != output.shape
        if differ and target.numel() == output.numel():
            raise CheckError(
                f"targets of shape {list(target.shape)} against outputs of {list(output.shape)} "
                f"would broadcast: expected {list(output.shape)}"
            )


def _copy_hooks(model: nn.Module, copied: nn.Module) -> list[str]:
    """Copy the gradient hooks of the parameters, which `deepcopy` loses.

    Returns:
        The names of the parameters with hooks after accumulation, which are not copied.
    """
    copies = dict(copied.named_parameters())
    unchecked_hooks: list[str] = []
    for name, parameter in model.named_parameters():
        for hook in (getattr(parameter, "_backward_hooks", None) or {}).values():
            copies[name].register_hook(hook)
        if getattr(parameter, "_post_accumulate_grad_hooks", None):
            unchecked_hooks.append(name)
    return unchecked_hooks


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _double(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.detach().cpu().clone()
        return value.double() if value.is_floating_point() else value
    return value


def _describe_pair(output: Any, target: Any) -> str:
    """Return the shapes and dtypes of outputs and targets, in words."""
    parts = [
        f"{list(v.shape)} {_dtype_name(v.dtype)}" if isinstance(v, Tensor) else repr(v)
        for v in (output, target)
    ]
    return f"outputs {parts[0]} with targets {parts[1]}"
