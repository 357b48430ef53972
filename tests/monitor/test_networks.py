"""Networks of other libraries: GPT-2, BERT, torch's Transformer, an LSTM on real text."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import gradlab

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of transformers
    transformers = pytest.importorskip("transformers", reason="pip install transformers accelerate")

WORDS = 60
SMALL = {"vocab_size": WORDS, "bos_token_id": 0, "eos_token_id": 0}


def loss_on_inputs(model):
    tokens = torch.randint(WORDS, (4, 12))
    return model(input_ids=tokens, labels=tokens).loss


def gpt2():
    config = transformers.GPT2Config(
        n_positions=16, n_embd=32, n_layer=3, n_head=4, loss_type="ForCausalLMLoss", **SMALL
    )
    return transformers.GPT2LMHeadModel(config), loss_on_inputs


def bert():
    config = transformers.BertConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128,
        loss_type="ForMaskedLM", **SMALL,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config), loss_on_inputs


def transformer():
    model = nn.Transformer(16, 2, 2, 2, 32, batch_first=True)
    return model, lambda m: m(torch.randn(4, 6, 16), torch.randn(4, 5, 16)).square().mean()


class Language(nn.Module):
    def __init__(self, words):
        super().__init__()
        self.embed, self.head = nn.Embedding(words, 16), nn.Linear(32, words)
        self.recur = nn.LSTM(16, 32, num_layers=2, batch_first=True)

    def forward(self, characters):
        return self.head(self.recur(self.embed(characters))[0])


def lstm():
    text = load_digits().DESCR  # a page of English from scikit-learn
    letters = sorted(set(text))
    every = torch.tensor([letters.index(letter) for letter in text])

    def loss(model):
        start = torch.randint(len(every) - 21, (8, 1))
        rows = every[start + torch.arange(21)]
        logits = model(rows[:, :-1])
        return nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())

    return Language(len(letters)), loss


def train(model, loss, optimizer, steps):
    torch.manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model).backward()
        optimizer.step()


@pytest.mark.parametrize("network", [gpt2, bert, transformer, lstm])
def test_every_module_is_recorded_and_training_is_the_same(network):
    torch.manual_seed(0)
    model, loss = network()
    torch.manual_seed(0)
    plain, plain_loss = network()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    with gradlab.watch(model, optimizer) as monitor:
        train(model, loss, optimizer, 6)
    train(plain, plain_loss, torch.optim.AdamW(plain.parameters(), 1e-3), 6)
    for (name, a), b in zip(model.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b), name
    last = monitor.frame().query("step == 5").set_index("module")
    for name, module in plain.named_modules():
        weights = [p.grad for n, p in module.named_parameters(recurse=False) if p.ndim > 1]
        if weights:
            norm = torch.stack([grad.norm() for grad in weights]).norm()
            assert last.loc[name, "weight_grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    silent = last["delta_norm"].isna()
    assert all(
        isinstance(model.get_submodule(n), nn.MultiheadAttention) for n in last.index[silent]
    )
    assert np.isfinite(last.loc[~silent, ["delta_norm", "preact_std"]]).all(axis=None)
    assert np.isfinite(monitor.steps()["loss"]).all()
    assert monitor.notes == []
    assert monitor.diagnose() == []


def test_position_is_the_order_of_calls():
    torch.manual_seed(0)
    model, loss = gpt2()
    with gradlab.watch(model, (optimizer := torch.optim.SGD(model.parameters(), 0.1))) as monitor:
        train(model, loss, optimizer, 1)
    assert monitor.modules[:4] == [
        "transformer.wte",
        "transformer.wpe",
        "transformer.h.0.attn.c_attn",
        "transformer.h.0.attn.c_proj",
    ]
    assert monitor.modules[-1] == "lm_head"
    assert monitor.frame()["unit_spread"].between(0.9, 1.0).all()  # Conv1D has its units second
    has_activation = monitor.frame().set_index("module")["act_factor"].notna()
    assert has_activation.index[has_activation].tolist() == [
        f"transformer.h.{i}.mlp.c_fc" for i in range(3)
    ]


def test_queries_and_keys_of_attention_are_not_called_vanishing():
    torch.manual_seed(0)
    model, loss = bert()
    with gradlab.watch(model, (optimizer := torch.optim.SGD(model.parameters(), 0.1))) as monitor:
        train(model, loss, optimizer, 3)
    weak = monitor.frame()[monitor.frame()["module"].str.contains("query|key")]
    assert (weak["delta_norm"] < 2e-3 * monitor.frame()["delta_norm"].iloc[-1]).all()
    assert [finding for finding in monitor.diagnose() if finding.kind == "vanishing"] == []
