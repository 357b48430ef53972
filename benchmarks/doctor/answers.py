"""What is wrong with each program in `broken/`, and in which line.

The programs themselves do not say. The answers, `also` among them, were written down before the
doctor was ever run on a program, and by someone who had not read its rules.
"""

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Answer:
    """One program's one mistake.

    `where` is text that occurs in the program once, and `fix` the text that makes it right. `also`
    names what it is no error to say besides: a consequence (layers in a plain list get no
    optimiser), or a second word for the same line. Only `mistake` itself counts as named right, or
    `own`, which was added after the first run: the doctor's name for that very mistake.
    """

    script: str
    mistake: str
    where: str
    fix: str
    why: str
    also: frozenset[str] = frozenset()
    crashes: str = ""
    own: str = ""

    @property
    def names(self) -> frozenset[str]:
        """The names of the mistake."""
        return frozenset({self.mistake, self.own} - {""})

    @property
    def path(self) -> Path:
        """The program."""
        return HERE / "broken" / f"{self.script}.py"

    @property
    def line(self) -> int:
        """The number of the line in which the program and its fixed twin part, from 1."""
        pairs = zip(self.path.read_text().splitlines(), self.fixed().splitlines(), strict=False)
        return 1 + next(i for i, (broken, fixed) in enumerate(pairs) if broken != fixed)

    def fixed(self) -> str:
        """Return the program without its mistake."""
        return self.path.read_text().replace(self.where, self.fix)


ANSWERS = (
    Answer(
        "accumulate",
        "undivided_accumulation",
        "loss = F.cross_entropy(model(x[rows]), y[rows])",
        "loss = F.cross_entropy(model(x[rows]), y[rows]) / ACCUMULATION_STEPS",
        "eight micro-batches are added and none is divided by eight",
    ),
    Answer(
        "amp_trainer",
        "clip_before_unscale",
        "def update(self):\n        torch",
        "def update(self):\n        self.scaler.unscale_(self.optimizer)\n        torch",
        "scaler.unscale_ is missing: gradients 65,536 times too large are clipped to 1",
    ),
    Answer(
        "autoencoder",
        "missing_parameters",
        'if n.startswith("decoder")]',
        'if n.startswith(("encoder", "decoder"))]',
        "the encoder is in no group of the optimiser",
    ),
    Answer(
        "big_batches",
        "summed_loss",
        'reduction="sum"',
        'reduction="mean"',
        "a sum over 128 samples, with the rate of a mean",
        frozenset({"learning_rate", "dying_relu"}),
    ),
    Answer(
        "by_hand",
        "large_weights",
        "torch.randn(n_in, n_out, requires_grad=True)",
        "torch.randn(n_in, n_out).div_(n_in**0.5).requires_grad_()",
        "weights of deviation 1 into 100 units: every tanh is saturated",
    ),
    Answer(
        "config_model",
        "sigmoid_before_bce",
        'final_activation="Sigmoid"',
        "final_activation=None",
        "the loss has a sigmoid of its own",
        own="sigmoid_twice",  # sigmoid_before_bce is another: a sigmoid before BCELoss
    ),
    Answer(
        "custom_linear",
        "transposed_backward",
        "grad_x = grad_output @ weight.t()",
        "grad_x = grad_output @ weight",
        "the weight is square, so its transpose fits as well",
        own="wrong_backward",  # names the function; that it is a transpose, it cannot see
    ),
    Answer(
        "diabetes_mlp",
        "broadcast_target",
        "((prediction - truth) ** 2)",
        "((prediction.squeeze(1) - truth) ** 2)",
        "[N, 1] minus [N] is [N, N]",
    ),
    Answer(
        "digits_script",
        "eval_left_on",
        "optimizer):\n    total",
        "optimizer):\n    model.train()\n    total",
        "evaluation before the loop leaves dropout off and BatchNorm frozen for all of training",
    ),
    Answer(
        "distil",
        "softmax_before_cross_entropy",
        "F.cross_entropy(probabilities, labels)",
        "F.cross_entropy(student_logits, labels)",
        "the hard part of the loss takes a softmax of a softmax",
    ),
    Answer(
        "gan_moons",
        "no_zero_grad",
        "# generator\n        opt_d.zero_grad()",
        "# generator\n        opt_g.zero_grad()",
        "the wrong optimiser: the generator's gradients are never cleared",
    ),
    Answer(
        "gru_sine",
        "clip_after_step",
        "optimizer.step()\n    clip_grad_norm_(model.parameters(), max_norm=0.05)",
        "clip_grad_norm_(model.parameters(), max_norm=0.05)\n    optimizer.step()",
        "the step has already been made",
    ),
    Answer(
        "hooks_engine",
        "clip_before_backward",
        (
            "def before_backward(self, loss):\n"
            "        nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)\n"
            "\n"
            "    def after_backward(self, loss):\n"
        ),
        (
            "def after_backward(self, loss):\n"
            "        nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)\n"
        ),
        "in before_backward, where every gradient is zero",
    ),
    Answer(
        "lbfgs_fit",
        "no_zero_grad",
        "def closure():\n        loss",
        "def closure():\n        optimizer.zero_grad()\n        loss",
        "the closure adds gradients up from call to call",
    ),
    Answer(
        "lightning_style",
        "schedule_before_step",
        (
            "for callback in self.callbacks:\n"
            "                    callback.on_train_batch_start()\n"
            "                loss = module.training_step(batch, i)\n"
            "                optimizer.zero_grad()\n"
            "                loss.backward()\n"
            "                optimizer.step()"
        ),
        (
            "loss = module.training_step(batch, i)\n"
            "                optimizer.zero_grad()\n"
            "                loss.backward()\n"
            "                optimizer.step()\n"
            "                for callback in self.callbacks:\n"
            "                    callback.on_train_batch_start()"
        ),
        "a callback at the batch's start moves the schedule on before the first step",
    ),
    Answer(
        "linear_scaling",
        "learning_rate",
        "args.base_lr * args.batch_size",
        "args.base_lr * args.batch_size / 256",
        "not divided by 256: a rate of 12.8",
        frozenset({"dying_relu"}),
    ),
    Answer(
        "low_rank",
        "zero_init",
        (
            "self.U = nn.Parameter(torch.zeros(n_out, rank))\n"
            "        self.V = nn.Parameter(torch.zeros(rank, n_in))"
        ),
        (
            "self.U = nn.Parameter(torch.randn(n_out, rank) / rank**0.5)\n"
            "        self.V = nn.Parameter(torch.randn(rank, n_in) / n_in**0.5)"
        ),
        "both factors are zero, so neither has a gradient",
        frozenset({"constant_init"}),
    ),
    Answer(
        "masked_policy",
        "log_of_zero",
        "torch.log(probs))",
        "torch.log(probs.clamp_min(1e-8)))",
        "actions that are not allowed have probability 0, and 0 log 0 is nan",
        crashes="probability tensor contains",
    ),
    Answer(
        "new_classes",
        "layer_replaced",
        (
            'optimizer = optim.Adam(model.parameters(), lr=config["lr"])\n'
            '    if config["task"] == "parity":\n'
            "        model.fc = nn.Linear(model.fc.in_features, 2)"
        ),
        (
            'if config["task"] == "parity":\n'
            "        model.fc = nn.Linear(model.fc.in_features, 2)\n"
            '    optimizer = optim.Adam(model.parameters(), lr=config["lr"])'
        ),
        "the optimiser holds the layer that was thrown away",
        frozenset({"missing_parameters"}),
    ),
    Answer(
        "optimizer_step_hook",
        "zero_grad_too_late",
        "optimizer.zero_grad()\n        optimizer.step()",
        "optimizer.step()\n        optimizer.zero_grad()",
        "between backward and step",
    ),
    Answer(
        "parity_transformer",
        "plain_list",
        "[Block(dim, heads) for _ in range(depth)]",
        "nn.ModuleList(Block(dim, heads) for _ in range(depth))",
        "the blocks are no part of the model: it has 514 parameters",
        frozenset({"missing_parameters"}),
    ),
    Answer(
        "rare_positives",
        "dying_relu",
        "nn.init.constant_(layer.bias, -math.log((1 - PRIOR) / PRIOR))",
        (
            "nn.init.zeros_(layer.bias)\n"
            "        nn.init.constant_(self.cls_logits.bias, -math.log((1 - PRIOR) / PRIOR))"
        ),
        "the last layer's prior put into every layer: all units begin dead",
    ),
    Answer(
        "resnet_block",
        "in_place_change",
        "out += x",
        "out = out + x",
        "relu keeps its output for the backward pass",
        crashes="modified by an inplace operation",
    ),
    Answer(
        "reverse_seq2seq",
        "detach_in_path",
        "return h.detach(), c.detach()",
        "return h, c",
        "nothing flows back into the encoder",
    ),
    Answer(
        "simclr_digits",
        "missing_parameters",
        "torch.optim.Adam(encoder.parameters()",
        "torch.optim.Adam([*encoder.parameters(), *projector.parameters()]",
        "the projector is a module of its own, and is never trained",
    ),
    Answer(
        "spreadsheet",
        "shifted_labels",
        "torch.from_numpy(codes)",
        "torch.from_numpy(codes - 1)",
        "codes 1 and 2 where the loss wants 0 and 1: it falls below zero",
    ),
    Answer(
        "square_activation",
        "in_place_change",
        "z.detach().numpy()",
        "z.detach().numpy().copy()",
        "the array shares z's memory, which the backward pass reads after it was standardised",
    ),
    Answer(
        "stateful_rnn",
        "kept_graph",
        "out, self.state = self.rnn(self.embed(tokens), self.state)",
        (
            "out, state = self.rnn(self.embed(tokens), self.state)\n"
            "        self.state = state.detach()"
        ),
        "the state brings the graph of the last batch with it",
        crashes="backward through the graph a second time",
        own="graph_used_twice",  # kept_graph is another: graphs that fill the memory
    ),
    Answer(
        "tiny_rate",
        "learning_rate",
        "lr=2e-5 / 32",
        "lr=2e-1",
        "6e-7: nothing moves",
    ),
    Answer(
        "two_tasks",
        "item_in_path",
        (
            "ink = self.ink(out, batch).item()\n"
            '        self.log["digit"].append(digit.item())\n'
            '        self.log["ink"].append(ink)'
        ),
        (
            "ink = self.ink(out, batch)\n"
            '        self.log["digit"].append(digit.item())\n'
            '        self.log["ink"].append(ink.item())'
        ),
        "the second task's loss is a plain number, and its head is never trained",
        frozenset({"detach_in_path"}),
    ),
    Answer(
        "two_towers",
        "unclipped_sigmoid",
        (
            "p = 1 / (1 + torch.exp(-score))\n"
            "    return -(relevant * torch.log(p) + (1 - relevant) * torch.log(1 - p)).mean()"
        ),
        "return F.binary_cross_entropy_with_logits(score, relevant)",
        "at a score of 17 it is exactly 1, and log(1 - p) is minus infinity",
        frozenset({"log_of_zero"}),
    ),
    Answer(
        "vae_digits",
        "data_in_path",
        "mu.data + eps * std.data",
        "mu + eps * std",
        "the encoder never hears of the reconstruction",
        frozenset({"detach_in_path"}),
    ),
    Answer(
        "warm_head",
        "frozen_layer",
        "p.require_grad =",
        "p.requires_grad =",
        "a misspelt attribute: the convolutions are never thawed",
    ),
    Answer(
        "weights_init",
        "constant_init",
        "nn.init.constant_(m.weight, 0.05)",
        "nn.init.kaiming_normal_(m.weight)",
        "all units of a layer are and stay one unit",
    ),
    Answer(
        "windows",
        "shifted_labels",
        "labels[: len(frames)]",
        "labels[1:]",
        "the first frame is cut off and its label is not",
    ),
    Answer(
        "wine_raw",
        "unscaled_inputs",
        (
            "train = torch.tensor(x_train, dtype=torch.float32), torch.tensor(y_train)\n"
            "    test = torch.tensor(x_test,"
        ),
        (
            "train = torch.tensor(x_train_scaled, dtype=torch.float32), torch.tensor(y_train)\n"
            "    test = torch.tensor(x_test_scaled,"
        ),
        "the scaled table is made and not used",
    ),
    Answer(
        "wine_trainer",
        "kept_graph",
        "self.losses.append(loss)",
        "self.losses.append(loss.item())",
        "every loss is kept with its graph",
    ),
)
