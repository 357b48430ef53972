"""The same in matrix form: all paths at once, from the loss back to the weight's layer."""

from gradlab.explain.subject import Subject
from gradlab.pages.numbers import norm, number, shape
from gradlab.pages.story import Section, Table
from gradlab.reference.activation_functions import Array


def section(subject: Subject) -> Section:
    """Return the equations of the backward pass, with shapes and sizes."""
    sample = subject.sample
    last = len(sample.layers)
    rows = [
        [f"dA_{last}", "dLoss/dA", shape(sample.grads[-1].dA), _size(sample.grads[-1].dA), ""],
    ]
    for m in range(last, subject.layer - 1, -1):
        g, layer = sample.grads[m - 1], sample.layers[m - 1]
        phi = layer.phi.name
        rows.append(
            [f"dZ_{m}", f"dA_{m} ⊙ phi'(Z_{m})", shape(g.dZ), _size(g.dZ), f"through {phi}"]
        )
        if m > subject.layer:
            shapes = f"{shape(g.dZ)} {shape(layer.W.T)} = {shape(g.dA_prev)}"
            rows.append(
                [f"dA_{m - 1}", f"dZ_{m} W_{m}ᵀ", shapes, _size(g.dA_prev), "all paths at once"]
            )
    g, A_prev = sample.grads[subject.layer - 1], sample.caches[subject.layer - 1].A_prev
    l, (i, j) = subject.layer, subject.weight
    shapes = f"{shape(A_prev.T)} {shape(g.dZ)} = {shape(g.dW)}"
    before = f"A_{l - 1}" if l > 1 else "X"
    rows.append([f"dW_{l}", f"{before}ᵀ dZ_{l}", shapes, _size(g.dW), "every weight of the layer"])
    rows.append([f"db_{l}", f"Σ dZ_{l}", f"[{len(g.db)}]", _size(g.db), "summed over the samples"])
    a, d = float(A_prev[0, i]), float(g.dZ[0, j])
    after = [
        f"dW_{l}[{i}, {j}] = {before}[0, {i}] · dZ_{l}[0, {j}] = {number(a)} × {number(d)} = "
        f"{number(subject.gradient)}: the same number, all paths taken at once. Rows are samples "
        "(here one); with more, dW and db are sums over them."
    ]
    table = Table(["", "equation", "shapes", "‖·‖", ""], rows)
    return Section("The same in matrix form", (), table, after)


def _size(array: Array) -> str:
    return f"{norm(array):.3g}"
