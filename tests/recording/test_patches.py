"""Functions are wrapped while a context is open, and are restored when all contexts close."""

import itertools
import threading
import types
from contextlib import ExitStack

import pytest
import torch
from torch.nn.utils import clip_grad

from gradlab.recording.patches import classes_that_define, wrap, wrap_decorated


def times_ten(x):
    return 10 * x


def new_module():
    """Return a module with one function."""
    module = types.ModuleType("module")
    module.function = times_ten
    return module


def recorder(calls, name):
    """Return a wrapper that appends a name to `calls` at each call."""

    def wrapper(original, *args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    return wrapper


def patch_as_other_tool(module):
    """Patch the function as another tool would, and return the replaced function."""
    replaced = module.function
    module.function = lambda x: replaced(x) + 1
    return replaced


def test_a_wrapper_receives_the_function_and_its_arguments_and_may_change_both():
    module = new_module()
    with wrap(module, "function", lambda original, x: original(x + 1) - 1):
        assert module.function(1) == 19
        assert module.function.__name__ == "times_ten"
    assert module.function is times_ten


def test_the_context_that_opened_last_is_called_first():
    module, calls = new_module(), []
    with (
        wrap(module, "function", recorder(calls, "a")),
        wrap(module, "function", recorder(calls, "b")),
    ):
        assert module.function(1) == 10
    assert calls == ["b", "a"]


def test_one_wrapper_in_two_contexts_is_called_twice():
    module, calls = new_module(), []
    wrapper = recorder(calls, "a")
    with wrap(module, "function", wrapper):
        with wrap(module, "function", wrapper):
            module.function(1)
        assert calls == ["a", "a"]
        module.function(1)
    assert calls == ["a", "a", "a"]
    assert module.function is times_ten


@pytest.mark.parametrize("order", list(itertools.permutations("abc")))
def test_contexts_close_in_any_order(order):
    module, calls = new_module(), []
    contexts = {name: wrap(module, "function", recorder(calls, name)) for name in "abc"}
    for context in contexts.values():
        context.__enter__()
    opened = set("abc")
    for name in order:
        contexts[name].__exit__(None, None, None)
        opened.remove(name)
        calls.clear()
        assert module.function(1) == 10
        assert set(calls) == opened
        assert len(calls) == len(opened)
    assert module.function is times_ten


TIMES = [(patched, restored) for patched in range(5) for restored in (None, *range(patched, 5))]


@pytest.mark.parametrize(("patched", "restored"), TIMES)
@pytest.mark.parametrize("first", "ab")
def test_another_tool_may_patch_and_restore_at_any_time(patched, restored, first):
    """Contexts a and b open and close; the other tool patches and restores at the given times."""
    module, calls, opened, replaced = new_module(), [], set(), None
    contexts = {name: wrap(module, "function", recorder(calls, name)) for name in "ab"}
    second = "b" if first == "a" else "a"
    acts = [("open", "a"), ("open", "b"), ("close", first), ("close", second), ("end", "")]
    for time, (act, name) in enumerate(acts):
        if time == patched:
            replaced = patch_as_other_tool(module)
        if time == restored:
            module.function, replaced = replaced, None
        if act == "open":
            contexts[name].__enter__()
            opened.add(name)
        elif act == "close":
            contexts[name].__exit__(None, None, None)
            opened.remove(name)
        calls.clear()
        assert module.function(1) == (10 if replaced is None else 11)
        if restored is not None and patched <= 1 < restored <= time:
            assert (
                set(calls) <= opened
            )  # restoring also removes wrappers that were added after the patch
        else:
            assert sorted(calls) == sorted(opened)
    with wrap(module, "function", recorder(calls, "later")):
        calls.clear()
        module.function(1)
    assert calls == ["later"]


def test_a_patch_that_never_calls_the_original_does_not_hide_calls_from_later_contexts():
    module, calls = new_module(), []
    with wrap(module, "function", recorder(calls, "a")):
        module.function = lambda x: -x
    with wrap(module, "function", recorder(calls, "b")):
        assert module.function(1) == -1
    assert calls == ["b"]
    assert module.function(1) == -1


def test_a_patch_that_is_removed_late_restores_a_function_that_calls_no_wrapper():
    module, calls = new_module(), []
    with wrap(module, "function", recorder(calls, "a")):
        replaced = patch_as_other_tool(module)
    module.function = replaced
    assert module.function(1) == 10
    assert calls == []
    with wrap(module, "function", recorder(calls, "b")):
        module.function(1)
    assert calls == ["b"]
    assert module.function is times_ten


def test_each_call_of_a_recursive_function_is_wrapped():
    module, calls = new_module(), []
    module.function = lambda x: 0 if x == 0 else module.function(x - 1)
    with wrap(module, "function", recorder(calls, "a")):
        patch_as_other_tool(module)
        with wrap(module, "function", recorder(calls, "b")):
            module.function(2)
    assert sorted(calls) == ["a"] * 3 + ["b"] * 3


def test_exceptions_propagate_and_the_function_is_restored():
    module, calls = new_module(), []

    def broken(original, x):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), wrap(module, "function", broken):
        module.function(1)
    assert module.function is times_ten
    with ExitStack() as stack:
        stack.enter_context(wrap(module, "function", recorder(calls, "a")))
        patch_as_other_tool(module)
        stack.enter_context(wrap(module, "function", recorder(calls, "b")))
        with pytest.raises(TypeError):
            module.function(None)
        calls.clear()
        module.function(1)  # after a failed call, wrappers are called as before
        assert sorted(calls) == ["a", "b"]


def test_threads_open_close_and_call_at_the_same_time():
    module, failures = new_module(), []
    barrier = threading.Barrier(4)

    def work(name):
        barrier.wait()
        for _ in range(300):
            calls = []
            with wrap(module, "function", recorder(calls, name)):
                if module.function(1) != 10 or not calls:
                    failures.append(name)

    threads = [threading.Thread(target=work, args=(each,)) for each in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert module.function is times_ten


def test_a_call_in_another_thread_is_wrapped_separately():
    module, calls = new_module(), []

    def elsewhere(x):
        thread = threading.Thread(target=module.function, args=(0,))
        if x:
            thread.start()
            thread.join()
        return x

    module.function = elsewhere
    with wrap(module, "function", recorder(calls, "a")):
        patch_as_other_tool(module)
        with wrap(module, "function", recorder(calls, "b")):
            module.function(1)
    assert sorted(calls) == ["a", "a", "b", "b"]


class Base:
    @classmethod
    def made(cls, x):
        return cls.__name__, x

    @staticmethod
    def static(x):
        return x

    def method(self, x):
        return self, x


class Below(Base):
    def method(self, x):
        return super().method(x)


def test_methods_class_methods_and_static_methods():
    before, calls, below = dict(vars(Base)), [], Below()
    with ExitStack() as stack:
        for name in ("made", "static", "method"):
            stack.enter_context(wrap(Base, name, recorder(calls, name)))
        assert Below.made(1) == ("Below", 1)
        assert Base.static(2) == below.static(2) == 2
        assert below.method(3) == (below, 3)
    assert calls == ["made", "static", "static", "method"]
    assert dict(vars(Base)) == before
    assert classes_that_define("method", Base) == [Base, Below]
    assert classes_that_define("made", Below) == []


def test_a_decorated_function_is_wrapped_also_where_it_was_imported_by_name():
    imported = clip_grad.clip_grad_norm_
    weight, calls = torch.ones(2, requires_grad=True), []
    weight.grad = torch.ones(2)
    with wrap_decorated(clip_grad.clip_grad_norm_, recorder(calls, "a")):
        with wrap_decorated(clip_grad.clip_grad_norm_, recorder(calls, "b")):
            imported([weight], 1.0)
        imported([weight], 1.0)
    imported([weight], 1.0)
    assert calls == ["b", "a", "a"]
    assert clip_grad.clip_grad_norm_ is imported
    assert imported.__closure__[0].cell_contents is imported.__wrapped__


def test_monitor_and_debugger_together_restore_the_functions_of_torch():
    from gradlab import watch
    from gradlab.debugger.observe.observer import TrainingObserver

    before = torch.autograd.backward, torch.amp.GradScaler.step
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    one, two = watch(model, optimizer), TrainingObserver()
    for context in (one, two):
        context.__enter__()
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    for context in (one, two):  # not the last one first
        context.__exit__(None, None, None)
    assert (torch.autograd.backward, torch.amp.GradScaler.step) == before
    assert len(one.steps()) == two.log.step == 2
