"""Reading autograd's graph, and marks that show whether it is in memory."""

import torch

from gradlab.debugger.observe.autograd_graph import (
    GraphMarks,
    leaves,
    line_of,
    operation,
    origins,
    scalars,
    store_line,
)
from gradlab.debugger.observe.source_lines import SourceLine

FORWARD, LOSS = SourceLine("train.py", 1), SourceLine("train.py", 2)


def test_leaves_are_the_tensors_that_get_a_gradient():
    a, b, c = (torch.ones(2, requires_grad=True) for _ in range(3))
    assert leaves((a * b).sum() + c.detach().sum()) == {id(a), id(b)}
    assert leaves(a) == {id(a)}
    assert leaves(torch.ones(2)) == frozenset()


def test_origins_skip_operations_that_only_change_the_shape():
    p = torch.sigmoid(torch.ones(4, 1, requires_grad=True))
    assert [operation(node) for node in origins(p.squeeze(1).view(2, 2).half())] == ["Sigmoid"]
    assert [operation(node) for node in origins(p.clamp(0.1, 0.9).squeeze(1))] == ["Clamp"]
    assert [operation(node) for node in origins(p + 1e-8)] == ["Add"]


def test_stored_scalars_and_lines_are_found():
    x = torch.ones(3, requires_grad=True)
    mean, other = (2 * x).mean(), x.sum()
    store_line(mean, LOSS, (True, 3))
    store_line(other, FORWARD, (False, 3))
    node = mean.grad_fn
    assert scalars(mean + 1) == [(node, True, 3)]
    assert line_of(node) == LOSS
    assert scalars(x) == []


def losses(marks, steps):
    """Return losses with marked graphs, each in a reference cycle."""
    held = []
    for step in range(steps):
        cycle = [torch.ones(2, requires_grad=True).sum()]
        cycle.append(cycle)
        marks.put(step, FORWARD, cycle[0], "no tensor")
        held.append(cycle)
    return held


def test_marks_live_as_long_as_their_graphs():
    marks = GraphMarks()
    held = losses(marks, 5)
    assert marks.live() == dict.fromkeys(range(5), FORWARD)
    total = sum(cycle[0] for cycle in held[3:])
    held.clear()
    assert [*marks.live()] == [3, 4]
    del total
    assert marks.live() == {}


def test_the_line_of_a_graph_is_the_line_of_its_last_operation():
    marks = GraphMarks()
    output = torch.ones(2, requires_grad=True) * 2
    marks.put(0, FORWARD, output)
    loss = output.sum()
    store_line(loss, LOSS)
    marks.put(0, FORWARD, loss)
    assert marks.live() == {0: LOSS}
    del loss
    assert marks.live() == {0: FORWARD}
