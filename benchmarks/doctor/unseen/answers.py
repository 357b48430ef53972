"""What is wrong with each program in `unseen/broken/`, and in which line.

Programs and answers are by someone who had read none of the doctor's code, programs or answers,
and of its rules only the first rows of the table in docs/doctor.md. They were complete before the
doctor was run on any of them; one thing was added after the first run, `own` of
propagate_backward.
"""

from pathlib import Path

from doctor.answers import Answer

UNSEEN = Path(__file__).parent


class UnseenAnswer(Answer):
    """An answer to a program of this folder."""

    @property
    def path(self) -> Path:
        """The program."""
        return UNSEEN / "broken" / f"{self.script}.py"


UNREGISTERED = frozenset({"missing_parameters"})
TOO_FAST = frozenset({"learning_rate"})

ANSWERS = (
    UnseenAnswer(
        "char_transformer_decay_groups",
        "missing_parameters",
        'if name.endswith("bias")]',
        "if p.dim() < 2]",
        "the weights of the layer norms are neither matrices nor biases, so in neither group",
    ),
    UnseenAnswer(
        "wine_estimator",
        "layer_replaced",
        """        self._adapt_head(len(self.classes_))
""",
        """        self._adapt_head(len(self.classes_))
        self.opt = torch.optim.Adam(self.net.parameters(), lr=self.lr)
""",
        "fit() makes a head for three classes; the optimiser of __init__ holds the one for two",
        UNREGISTERED,
    ),
    UnseenAnswer(
        "relational_graph",
        "plain_list",
        "self.per_relation = {r: nn.Linear(d_in, d_out, bias=False) for r in RELATIONS}",
        "self.per_relation = nn.ModuleDict(\n"
        "            {r: nn.Linear(d_in, d_out, bias=False) for r in RELATIONS}\n"
        "        )",
        "the matrices of the relations are in a plain dict",
        UNREGISTERED,
    ),
    UnseenAnswer(
        "probe_then_tune",
        "frozen_layer",
        "    net.encoder.train()\n",
        "    net.encoder.train()\n    net.encoder.requires_grad_(True)\n",
        "train() sets the mode; the encoder stays frozen after the probe",
    ),
    UnseenAnswer(
        "sanity_check_engine",
        "eval_left_on",
        "    def run_epoch(self, loader):\n",
        "    def run_epoch(self, loader):\n        self.model.train()\n",
        "the check before the first epoch leaves evaluation mode on",
    ),
    UnseenAnswer(
        "lora_adapter",
        "zero_init",
        """        for p in (self.lora_a, self.lora_b):
            nn.init.zeros_(p)
""",
        """        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        nn.init.zeros_(self.lora_b)
""",
        "with both factors 0 neither has a gradient, ever",
        frozenset({"constant_init"}),
    ),
    UnseenAnswer(
        "matrix_factors",
        "constant_init",
        "nn.init.constant_(table.weight, 0.1)",
        "nn.init.normal_(table.weight, std=0.1)",
        "all factors of a user or film are equal, and stay equal",
    ),
    UnseenAnswer(
        "deep_ranker",
        "large_weights",
        "nn.init.uniform_(module.weight, -1.0, 1.0)",
        'nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")',
        "a layer of 64 multiplies the signal by sqrt(64 / 6) = 3.3, six times over",
        TOO_FAST,
    ),
    UnseenAnswer(
        "rare_event_prior",
        "dying_relu",
        "                nn.init.constant_(m.bias, bias)\n",
        "                nn.init.zeros_(m.bias)\n"
        "        nn.init.constant_(self.classifier.bias, bias)\n",
        "the bias of the prior, -4.6, goes to the hidden layers as well",
    ),
    UnseenAnswer(
        "house_prices",
        "unscaled_inputs",
        "train = loader_of(X_train, (",
        "train = loader_of(X_train_scaled, (",
        "the scaled columns are made and not used",
        TOO_FAST,
    ),
    UnseenAnswer(
        "star_reviews",
        "shifted_labels",
        "torch.tensor([stars for",
        "torch.tensor([stars - 1 for",
        "stars count from 1, the list of words from 0; the number of outputs hides it",
    ),
    UnseenAnswer(
        "contextual_bandit",
        "broadcast_target",
        ".gather(1, arm.unsqueeze(1))\n        error",
        ".gather(1, arm.unsqueeze(1)).squeeze(1)\n        error",
        "gather leaves (N, 1), rewards are (N,)",
    ),
    UnseenAnswer(
        "info_nce",
        "softmax_before_cross_entropy",
        "similarity.softmax(dim=1)",
        "similarity",
        "cross_entropy takes the softmax of the softmax",
    ),
    UnseenAnswer(
        "churn_warm_start",
        "sigmoid_before_bce",
        "        return torch.sigmoid(self.score(x)).squeeze(1)\n"
        "\n\n"
        "class Tuner:\n"
        "    def __init__(self, model):\n"
        "        self.model = model\n"
        "        self.criterion = nn.BCELoss()\n",
        "        return self.score(x).squeeze(1)\n"
        "\n\n"
        "class Tuner:\n"
        "    def __init__(self, model):\n"
        "        self.model = model\n"
        "        self.criterion = nn.BCEWithLogitsLoss()\n",
        "the old model is sure of itself: customers that it gets wrong have the gradient 0",
    ),
    UnseenAnswer(
        "disc_fitting",
        "unclipped_sigmoid",
        """    opacity = torch.sigmoid(depth)
    inside = mask * torch.log(opacity)
    outside = (1 - mask) * torch.log(1 - opacity)
""",
        """    inside = mask * nn.functional.logsigmoid(depth)
    outside = (1 - mask) * nn.functional.logsigmoid(-depth)
""",
        "the opacity is 1 well inside a disc, and log(1 - opacity) minus infinity",
        frozenset({"log_of_zero"}),
    ),
    UnseenAnswer(
        "masked_policy",
        "log_of_zero",
        "-(probs * torch.log(probs)).sum(dim=1)",
        "-(probs * torch.log(probs.clamp(min=1e-8))).sum(dim=1)",
        "forbidden moves have the probability 0, and 0 times log 0 is NaN",
    ),
    UnseenAnswer(
        "molecule_loop",
        "summed_loss",
        "    loss.backward()\n",
        "    loss = loss / len(batch)\n    loss.backward()\n",
        "a sum over 32 molecules at a rate that suits their mean",
        TOO_FAST,
    ),
    UnseenAnswer(
        "callback_runner",
        "no_zero_grad",
        """    def epoch_begin(self, runner):
        self.optimizer.zero_grad()

    def batch_end""",
        """    def batch_begin(self, runner):
        self.optimizer.zero_grad()

    def batch_end""",
        "gradients are cleared once per epoch, not per update",
        TOO_FAST,
    ),
    UnseenAnswer(
        "gradient_monitor",
        "zero_grad_too_late",
        "            parameter.grad = None\n",
        "",
        "the monitor clears the gradients before the update has used them",
    ),
    UnseenAnswer(
        "spectral_forecast",
        "detach_in_path",
        """        power = np.abs(np.fft.rfft(h.detach().numpy(), axis=-1)) / 8
        return torch.from_numpy(power.astype(np.float32))
""",
        "        return torch.fft.rfft(h, dim=-1).abs() / 8\n",
        "the spectrum is numpy's, so the filters never learn",
    ),
    UnseenAnswer(
        "two_tower_cached",
        "detach_in_path",
        """    @torch.no_grad()
    def encode""",
        "    def encode",
        "encode is without gradients, and training uses it; only the scale learns",
        own="no_grad_in_path",
    ),
    UnseenAnswer(
        "three_tasks",
        "item_in_path",
        "torch.tensor(losses, requires_grad=True).mean()",
        "torch.stack(losses).mean()",
        "torch.tensor makes numbers of the losses",
    ),
    UnseenAnswer(
        "own_dropout",
        "data_in_path",
        """        h.data.mul_(mask).div_(1 - self.p)
        return h
""",
        "        return h * mask / (1 - self.p)\n",
        "tanh's derivative is computed from what dropout has written over",
    ),
    UnseenAnswer(
        "state_buffer",
        "in_place_change",
        """        state = torch.zeros(batch, length + 1, self.hidden)
        for t in range(length):
            state[:, t + 1] = self.cell(x[:, t], state[:, t])
        return self.read(state[:, 1:]).squeeze(-1)
""",
        """        state = [torch.zeros(batch, self.hidden)]
        for t in range(length):
            state.append(self.cell(x[:, t], state[t]))
        return self.read(torch.stack(state[1:], dim=1)).squeeze(-1)
""",
        "each state is written into the tensor that the cell has saved a part of",
        crashes="modified by an inplace operation",
    ),
    UnseenAnswer(
        "propagate_backward",
        "transposed_backward",
        "return transition @ grad, None",
        "return transition.T @ grad, None",
        "the graph is directed: what goes back needs the transposed matrix",
        own="wrong_backward",
    ),
    UnseenAnswer(
        "char_lstm_session",
        "clip_before_backward",
        """        norm = self.clip()
        loss.backward()
""",
        """        loss.backward()
        norm = self.clip()
""",
        "at that moment there is nothing to clip",
        TOO_FAST,
    ),
    UnseenAnswer(
        "outlier_clamp",
        "clip_after_step",
        """        optimizer.step()
        limit_gradients(model.parameters(), bound)
""",
        """        limit_gradients(model.parameters(), bound)
        optimizer.step()
""",
        "the gradients are limited when the update is over",
        TOO_FAST,
    ),
    UnseenAnswer(
        "half_precision_digits",
        "clip_before_unscale",
        "        torch.nn.utils.clip_grad_norm_(parameters",
        "        self.scaler.unscale_(self.optimizer)\n"
        "        torch.nn.utils.clip_grad_norm_(parameters",
        "what is clipped is 65,536 times the gradient",
    ),
    UnseenAnswer(
        "micro_batches",
        "undivided_accumulation",
        "        loss.backward()\n",
        "        (loss / self.args.gradient_accumulation_steps).backward()\n",
        "the argument is used to count, and not to divide",
        TOO_FAST,
    ),
    UnseenAnswer(
        "warmup_callback",
        "schedule_before_step",
        """    def on_batch_start(self):
        self.schedule.step()

    def on_batch_end(self):
        self.seen.append(self.schedule.get_last_lr()[0])
""",
        """    def on_batch_start(self):
        self.seen.append(self.schedule.get_last_lr()[0])

    def on_batch_end(self):
        self.schedule.step()
""",
        "the first value of the schedule is never used",
    ),
    UnseenAnswer(
        "argparse_digits",
        "learning_rate",
        '"--lr", type=float, default=1.5',
        '"--lr", type=float, default=0.05',
        "momentum 0.9 at a rate of 1.5",
        frozenset({"dying_relu"}),
    ),
    UnseenAnswer(
        "smooth_progress",
        "kept_graph",
        "progress.add(loss)",
        "progress.add(loss.detach())",
        "the smoothed loss refers to the graph of every batch so far",
    ),
    UnseenAnswer(
        "task_uncertainty",
        "missing_parameters",
        "torch.optim.Adam(model.parameters(), lr=0.02)",
        "torch.optim.Adam([*model.parameters(), *criterion.parameters()], lr=0.02)",
        "the loss has weights of its own, which the optimiser was not given",
    ),
    UnseenAnswer(
        "lightning_outputs",
        "kept_graph",
        "self.training_step_outputs.append(loss)",
        "self.training_step_outputs.append(loss.detach())",
        "every loss of the epoch is kept with its graph",
    ),
)
