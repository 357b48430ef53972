"""Walks through autograd's graph, and marks on it that tell how long it lives."""

import torch

from gradlab.examination.graph import Marks, kind, leaves, origins


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


def made(marks, updates):
    """Return losses whose graphs are marked, each in a cycle that only Python's collector ends."""
    kept = []
    for update in range(updates):
        cycle = [torch.ones(2, requires_grad=True).sum()]
        cycle.append(cycle)
        marks.put(update, cycle[0], "no tensor")
        kept.append(cycle)
    return kept


def test_marks_live_as_long_as_their_graphs():
    marks = Marks()
    kept = made(marks, 5)
    assert marks.alive() == [0, 1, 2, 3, 4]
    total = sum(cycle[0] for cycle in kept[3:])
    kept.clear()
    assert marks.alive() == [3, 4]
    del total
    assert marks.alive() == []
