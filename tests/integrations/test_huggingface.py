"""The callback in a real Trainer of Hugging Face, on a GPT-2 without downloaded weights."""

import warnings

import numpy as np
import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the imports of transformers
    transformers = pytest.importorskip("transformers", reason="pip install transformers accelerate")
    pytest.importorskip("accelerate", reason="pip install transformers accelerate")
    from gradlab.integrations.huggingface import Watch

pytestmark = pytest.mark.filterwarnings("ignore")  # of transformers


def gpt2(dropout):
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=40, n_positions=16, n_embd=16, n_layer=2, n_head=2,
        bos_token_id=0, eos_token_id=0, loss_type="ForCausalLMLoss",
        **dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout),
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def train(folder, callbacks, dropout=0.0, **kwargs):
    tokens = torch.randint(40, (16, 8), generator=torch.Generator().manual_seed(0))
    data = [{"input_ids": row, "labels": row} for row in tokens]
    settings = {"max_steps": 4, "per_device_train_batch_size": 2, "report_to": [], "use_cpu": True}
    settings |= {"save_strategy": "no", "disable_tqdm": True, "logging_strategy": "no"}
    args = transformers.TrainingArguments(str(folder), **settings | kwargs)
    trainer = transformers.Trainer(gpt2(dropout), args, train_dataset=data, callbacks=callbacks)
    trainer.train()
    return trainer


def test_it_records_and_training_is_the_same(tmp_path):
    watch = Watch(every=2)
    model, plain = (train(tmp_path, [*w], dropout=0.1).model for w in ([watch], []))
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)
    assert watch.monitor.steps()["step"].tolist() == [0, 2]
    frame = watch.monitor.frame()
    assert frame["module"][0] == "transformer.wte"
    assert frame["module"].iloc[-1] == "lm_head"
    assert frame[["weight_grad_norm", "delta_norm", "update_ratio"]].notna().all(axis=None)
    assert np.isfinite(watch.monitor.steps()["loss"]).all()
    assert watch.monitor.diagnose() == []
    with watch.monitor:  # the model is no longer watched
        pass


def test_accumulation_and_clipping(tmp_path):
    watch = Watch()
    trainer = train(tmp_path, [watch], gradient_accumulation_steps=2, max_grad_norm=0.1)
    steps = watch.monitor.steps()
    assert len(steps) == 4
    np.testing.assert_allclose(steps["grad_norm"] * steps["clip_factor"], 0.1, rtol=1e-3)
    mean_loss = trainer.state.log_history[-1]["train_loss"]
    assert steps["loss"].mean() == pytest.approx(mean_loss, rel=1e-6)
