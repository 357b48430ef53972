"""Walks through autograd's graph, and marks on it that tell how long it lives."""

import torch

from gradlab.debugger.observe.autograd_graph import (
    Marks,
    kind,
    leaves,
    made,
    origins,
    remember,
    scalars,
)
from gradlab.debugger.observe.source_lines import Place

FORWARD, LOSS = Place("train.py", 1), Place("train.py", 2)


def test_leaves_are_what_a_gradient_arrives_at():
    a, b, c = (torch.ones(2, requires_grad=True) for _ in range(3))
    assert leaves((a * b).sum() + c.detach().sum()) == {id(a), id(b)}
    assert leaves(a) == {id(a)}
    assert leaves(torch.ones(2)) == frozenset()


def test_origins_are_seen_through_shapes_and_not_through_numbers():
    p = torch.sigmoid(torch.ones(4, 1, requires_grad=True))
    assert [kind(node) for node in origins(p.squeeze(1).view(2, 2).half())] == ["Sigmoid"]
    assert [kind(node) for node in origins(p.clamp(0.1, 0.9).squeeze(1))] == ["Clamp"]
    assert [kind(node) for node in origins(p + 1e-8)] == ["Add"]


def test_scalars_are_found_where_they_were_made():
    x = torch.ones(3, requires_grad=True)
    mean, other = (2 * x).mean(), x.sum()
    remember(mean, LOSS, (True, 3))
    remember(other, FORWARD, (False, 3))
    node = mean.grad_fn
    assert scalars(mean + 1) == [(node, True, 3)]
    assert made(node) == LOSS
    assert scalars(x) == []


def losses(marks, updates):
    """Return losses whose graphs are marked, each in a cycle that only Python's collector ends."""
    kept = []
    for update in range(updates):
        cycle = [torch.ones(2, requires_grad=True).sum()]
        cycle.append(cycle)
        marks.put(update, FORWARD, cycle[0], "no tensor")
        kept.append(cycle)
    return kept


def test_marks_live_as_long_as_their_graphs():
    marks = Marks()
    kept = losses(marks, 5)
    assert marks.alive() == dict.fromkeys(range(5), FORWARD)
    total = sum(cycle[0] for cycle in kept[3:])
    kept.clear()
    assert [*marks.alive()] == [3, 4]
    del total
    assert marks.alive() == {}


def test_a_graph_is_told_by_where_the_last_of_it_was_made():
    marks = Marks()
    output = torch.ones(2, requires_grad=True) * 2
    marks.put(0, FORWARD, output)
    loss = output.sum()
    remember(loss, LOSS)
    marks.put(0, FORWARD, loss)
    assert marks.alive() == {0: LOSS}
    del loss
    assert marks.alive() == {0: FORWARD}
