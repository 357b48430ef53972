"""The commands as a user types them: exit codes, one-line errors, and no lost rows."""

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from gradlab.cli.main import main
from gradlab.results.load import find, load

SHORT = ["tracking=none", "model.depth=2", "model.width=8", "train.steps=4", "record.every=2"]


NOT_A_NAME = [
    ("clip", "null"),
    ("optim", "null"),
    ("model", "1"),
    ("data", "true"),
    ("loss", "nan"),
    ("clip", "[1,2]"),
    ("optim", "{a:1}"),
]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gradlab"])


def gradlab(*arguments: str) -> int:
    return main(list(arguments))


def one_line(capsys) -> str:
    printed = capsys.readouterr()
    lines = printed.err.strip().splitlines()
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("gradlab: ")
    assert "Traceback" not in printed.out
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "model.activation=sigmiod"], "did you mean sigmoid?"),
        (["run", "model.depth=-1"], "model.depth=-1: expected a whole number of at least 0"),
        (["run", "model.detph=3"], "model.detph is not a key; did you mean model.depth?"),
        (["run", "train.batch_size=5000"], "digits has 1437 training samples"),
        (["run", "loss=mes"], "loss=mes is not a choice; did you mean mse?"),
        (["run", "lss=mse"], "lss is not a key; did you mean loss?"),
        (["run", "+experiment=depth_activatoin"], "did you mean depth_activation?"),
        (["run", "+foo=1"], "foo is not a key"),
        (["run", "clip.max_norm=2"], "clip.max_norm is not a key of the chosen clip"),
        (["run", "data=diabetes"], "cross_entropy is for classification"),
        (["run", "model.depth"], "model.depth has no value"),
        (["run", "model.depth=${nothing}"], "nothing"),
        (["run", "seed=???"], "seed"),
        (["run", "train.device=cuda:9"], "cuda:9 is not there"),
        (["run", "hydra.run.dir=/dev/null/x"], "/dev/null/x cannot be written: Not a directory"),
        (["run", "-m", "loss=mse,mes"], "did you mean mse?"),
        (["report", "empty"], "contains no run.json"),
        (["report", "missing"], "missing is not a folder"),
        (["report"], "expected one folder, given 0"),
        (["show", "missing"], "missing is not a folder"),
        *[(["run", f"{key}={v}"], f"{key}={v}: choose from ") for key, v in NOT_A_NAME],
        (["run", "+experiment=1"], "experiment=1: choose from depth_activation"),
        (["run", "-m", "clip=norm,null"], "clip=norm,null: choose from adaptive"),
        (["check", "clip=null"], "clip=null: choose from adaptive"),
        (["explain", "model=1"], "model=1: choose from cnn, gru, lstm, mlp"),
        (["run", "experiment=depth_activation"], "write +experiment=depth_activation"),
        (["run", "hydra.swep.dir=x"], "did you mean hydra.sweep.dir?"),
        (["run", "hydra.foo=1"], "not a key of Hydra; gradlab run --cfg hydra"),
        (["run", "-m", "seed=0,1", "--cfg", "job"], "Only one of --run, --multirun, --cfg"),
        (["run", "-m", "--info"], "Only one of --run, --multirun, --cfg, --info"),
        (["run", "--resolve"], "The --resolve flag can only be used"),
        (["run", "-sc", "install=foo"], "No completion plugin for 'foo'"),
        (["run", "-m", "-sc", "install=bash"], "Only one of"),
        (["run", "--multrun"], "--multrun is not a flag; did you mean --multirun?"),
        (["run", "--cfg", "jbo"], "choose from 'job', 'hydra', 'all'"),
        (["run", "seed=1", "-m", "clip=none"], "clip=none is separated from the other overrides"),
        (["run", "-cn", "foo"], "foo.yaml is not in the search path; choose from config"),
        (["run", "-cp", "/"], "config.yaml is not in the search path"),
        (["run", "model._target_=os.system"], "expected gradlab.models.feedforward.MLP"),
        (["run", "model.activation=torch.nn.Tanhshrin"], "did you mean torch.nn.Tanhshrink?"),
        (["run", "model.activation=torch.nn.Softmax"], "more than one input"),
        (["run", "model.activation=sys.exit"], "expected an elementwise torch module: it ends the"),
        (["run", "model.width=10000000"], "the network cannot be built"),
        (["run", "train.steps=99999999999999999999"], "of at most 2147483647"),
        (["rnu"], "rnu is not a command; did you mean run?"),
    ],
)
def test_a_wrong_command_gives_one_line_and_exit_code_2(arguments, words, capsys):
    Path("empty").mkdir()
    assert gradlab(*arguments) == 2
    assert words in one_line(capsys)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["help"]])
def test_help(arguments, capsys):
    assert gradlab(*arguments) == 0
    assert "gradlab run -m" in capsys.readouterr().out


def test_version(capsys):
    assert gradlab("--version") == 0
    assert capsys.readouterr().out.startswith("gradlab 0.")


def test_a_run_writes_its_files_and_prints_the_folder(capsys):
    assert gradlab("run", *SHORT) == 0
    assert "outputs/" in capsys.readouterr().out
    frames = load("outputs")
    assert frames.runs["model.depth"].tolist() == [2]
    assert len(frames.layers) == 6
    assert frames.steps["step"].tolist() == [0, 1, 2, 3]
    info = json.loads(next(Path("outputs").rglob("run.json")).read_text())
    assert info["status"] == "completed"
    assert info["error"] is None
    assert set(info["versions"]) >= {"gradlab", "torch", "python"}
    assert info["timings"]["seconds"] > 0
    assert next(Path("outputs").rglob(".hydra/config.yaml")).exists()


def test_a_sweep_then_show_then_report(capsys):
    swept = ["model.activation=relu,sigmoid", "seed=0,1", "hydra.sweep.dir=sweep"]
    assert gradlab("run", "-m", *SHORT, *swept) == 0
    assert "4 runs: 4 too_early; 0 failed" in capsys.readouterr().out
    assert gradlab("show", "sweep") == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split()[:2] == ["run", "verdict"]
    assert [line.split()[0] for line in shown[1:5]] == ["0", "1", "2", "3"]
    assert gradlab("report", "sweep") == 0
    assert capsys.readouterr().out.startswith("4 runs: sweep/report/index.html")


def test_a_failed_job_does_not_stop_the_others(capsys, monkeypatch):
    swept = ["model.init_gain=null,2.0", "model.init=xavier_normal,zeros", "hydra.sweep.dir=s"]
    assert gradlab("run", "-m", *SHORT, *swept) == 1
    printed = capsys.readouterr()
    assert "failed: model.init=zeros has no gain" in printed.out
    assert "3 runs: " in printed.out
    assert "; 1 failed" in printed.out
    assert "s/3: " in printed.out
    assert "Traceback" not in printed.err
    assert len(find("s").runs) == 3


def sweep(*swept: str) -> int:
    return gradlab("run", "-m", *SHORT, *swept, "hydra.sweep.dir=s")


ONE_BY_ONE = "hydra/launcher=basic"


def test_only_the_jobs_of_this_command_are_counted(capsys):
    assert sweep("seed=0,1") == 0
    capsys.readouterr()
    assert sweep("seed=0,1,2") == 1
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert "1 run: 1 too_early; 2 failed" in lines
    named = [line for line in lines if line.startswith("  s/")]
    assert [line.split(":")[0] for line in named] == ["  s/0", "  s/1"]
    assert all("already holds a run" in line for line in named)
    assert not printed.err


def test_a_sweep_in_which_every_job_is_invalid_gives_one_line_and_exit_code_2(capsys):
    assert sweep("seed=0,1") == 0
    capsys.readouterr()
    assert sweep("seed=0,1") == 2
    printed = capsys.readouterr()
    assert "0 runs: none finished; 2 failed" in printed.out
    assert "gradlab report" not in printed.out
    (line,) = printed.err.splitlines()
    assert "already holds a run" in line


def test_two_jobs_with_the_same_folder(capsys):
    assert sweep("seed=0,1", "hydra.sweep.subdir=same") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "jobs 0 and 1 share the folder s/same" in line
    assert not list(Path("s").glob("**/run.json"))


def test_jobs_with_folders_inside_other_folders(capsys):
    assert sweep("seed=0,1") == 0
    capsys.readouterr()
    assert sweep("seed=2,3", "hydra.sweep.subdir=0/${hydra.job.num}") == 0
    assert "2 runs: 2 too_early; 0 failed" in capsys.readouterr().out


def test_a_failure_does_not_stop_later_batches(capsys):
    swept = ["model.init_gain=2.0,null", "model.init=zeros", "hydra.sweeper.max_batch_size=1"]
    assert sweep(*swept) == 1
    assert "1 run: 1 symmetric; 1 failed" in capsys.readouterr().out
    assert "no gain" in Path("s/0/gradlab.log").read_text()


def test_an_invalid_job_and_a_failed_job_give_exit_code_1(capsys, monkeypatch):

    from gradlab.runs import run

    monkeypatch.setattr(run, "check_data", lambda *arguments: 1 / 0)
    assert sweep("model.init=zeros", "model.init_gain=2.0,null") == 1
    printed = capsys.readouterr()
    assert "0 runs: none finished; 2 failed" in printed.out
    assert "ZeroDivisionError: division by zero (traceback in s/1/traceback.txt)" in printed.err
    assert "division by zero" in Path("s/1/gradlab.log").read_text()
    assert "1 / 0" in Path("s/1/traceback.txt").read_text()


def test_a_job_in_another_process_raises_its_error(monkeypatch):
    from gradlab.errors import StoreError
    from gradlab.runs import sweep as sweeps

    def elsewhere(config):
        sweeps.outcomes = None  # as in a process that imported only the job
        return job(config)

    job = sweeps.job
    monkeypatch.setattr(sweeps, "job", elsewhere)
    Path("s/0").mkdir(parents=True)
    Path("s/0/run.json").touch()
    with pytest.raises(StoreError, match="already holds a run"):
        sweeps.run(["-m", *SHORT, "seed=0,1", "hydra.sweep.dir=s", ONE_BY_ONE])


def test_an_attempt_to_end_the_program_in_a_run_is_a_failure(capsys, monkeypatch):
    from gradlab.training.loop import Loop

    monkeypatch.setattr(Loop, "step", lambda *arguments: sys.exit())
    assert gradlab("run", *SHORT, "hydra.run.dir=out") == 1
    assert "SystemExit" in one_line(capsys)
    assert find("out").runs[0].info["status"] == "failed"


SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def interrupt_at(monkeypatch, where: str, call: int, ask: signal.Signals) -> None:
    """Send this process a signal in the middle of the nth call of a function."""
    module, _, name = where.rpartition(".")
    import importlib

    owner = importlib.import_module(module)
    original, calls = getattr(owner, name), []

    def interrupted(*arguments, **keywords):
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), ask)
        return original(*arguments, **keywords)

    monkeypatch.setattr(owner, name, interrupted)


@pytest.mark.parametrize(("ask", "code"), SIGNALS)
@pytest.mark.parametrize(
    ("where", "summary"),
    [
        ("gradlab.training.loop.measure", "1 run: 1 too_early; 0 failed; 1 interrupted; 2 did not"),
        ("gradlab.runs.run.load", "1 run: 1 too_early; 0 failed; 1 interrupted; 2 did not start"),
        ("hydra.core.utils.JobReturn", "1 run: 1 too_early; 0 failed; 3 did not start"),
    ],
)
def test_an_interrupted_sweep_counts_finished_and_interrupted_runs(
    ask, code, where, summary, capsys, monkeypatch
):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    nth = 3 if where.endswith("measure") else 2  # two records a job
    interrupt_at(monkeypatch, where, nth, ask)
    assert sweep("seed=0,1,2,3", ONE_BY_ONE) == code
    printed = capsys.readouterr()
    assert summary in printed.out
    assert "gradlab report s" in printed.out
    assert printed.err == "gradlab: interrupted; all recorded rows are saved\n"
    statuses = [run.info["status"] for run in find("s").runs]
    assert statuses == ["completed", "interrupted"][: 1 + where.endswith("measure")]
    logs = [file.read_text() for file in sorted(Path("s").glob("1/gradlab.log"))]
    assert all("interrupted" in log for log in logs)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


@pytest.mark.parametrize(("ask", "code"), SIGNALS)
def test_a_signal_before_the_first_step(ask, code, capsys, monkeypatch):
    interrupt_at(monkeypatch, "gradlab.runs.run.load", 1, ask)
    assert gradlab("run", *SHORT, "hydra.run.dir=out") == code
    assert "interrupted" in one_line(capsys)
    assert "interrupted" in Path("out/gradlab.log").read_text()


def test_an_error_in_a_run_is_printed_in_one_line_and_saved(capsys, monkeypatch):
    from gradlab.training.loop import History

    flush = History.flush

    def break_down(self):
        flush(self)
        if self.outcomes[0].steps >= 3:
            raise RuntimeError("CUDA out of memory\nand much more")

    monkeypatch.setattr(History, "flush", break_down)
    assert gradlab("run", *SHORT, "hydra.run.dir=out") == 1
    assert "RuntimeError: CUDA out of memory (traceback in out/traceback.txt)" in one_line(capsys)
    (run,), _ = find("out")
    assert run.info["status"] == "failed"
    assert run.info["error"] == "RuntimeError: CUDA out of memory"
    assert run.steps()["step"].tolist() == [0, 1, 2]
    assert "break_down" in Path("out/traceback.txt").read_text()


def test_a_full_disk_gives_one_line_and_loses_no_written_rows(capsys, monkeypatch):
    from gradlab.results import parquet

    encode, written = parquet.encode, []

    def fill(table):
        written.append(table)
        if len(written) > 5:
            raise OSError(28, "No space left on device")
        return encode(table)

    monkeypatch.setattr(parquet, "encode", fill)
    monkeypatch.setattr(parquet.Table, "append", eager(parquet.Table.append))
    assert gradlab("run", *SHORT, "hydra.run.dir=out") == 1
    assert "OSError: [Errno 28] No space left on device" in one_line(capsys)
    (run,), damaged = find("out")
    assert not damaged
    assert run.layers()["step"].unique().tolist() == [0, 2]
    assert run.steps()["step"].tolist() == [0]


def eager(append):
    """Return an `append` that writes at once."""

    def now(self, columns):
        self._next_flush = 0.0
        append(self, columns)

    return now


def test_a_folder_with_a_run_is_not_overwritten(capsys):
    assert gradlab("run", *SHORT, "hydra.run.dir=out") == 0
    before = Path("out/layers.parquet").read_bytes()
    capsys.readouterr()
    assert gradlab("run", *SHORT, "hydra.run.dir=out", "seed=5") == 2
    assert "already holds a run" in one_line(capsys)
    assert Path("out/layers.parquet").read_bytes() == before


def test_a_truncated_file_is_named_and_the_rest_reported(capsys):
    assert gradlab("run", "-m", *SHORT, "seed=0,1,2", "hydra.sweep.dir=sweep") == 0
    file = Path("sweep/1/layers.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    Path("sweep/2/run.json").write_text('{"schema": 1,')
    capsys.readouterr()
    assert gradlab("report", "sweep") == 0
    printed = capsys.readouterr()
    assert "sweep/1/layers.parquet is damaged" in printed.err
    assert "sweep/2/run.json is damaged" in printed.err
    assert printed.out.startswith("1 run:")
    page = Path("sweep/report/index.html").read_text()
    assert "sweep/1/layers.parquet is damaged" in page
    assert gradlab("show", "sweep") == 0
    printed = capsys.readouterr()
    assert "left out: sweep/1/layers.parquet is damaged" in printed.err
    assert "left out" not in printed.out


@pytest.mark.parametrize("flag", [["--cfg", "job"], ["--info", "defaults"], ["--help"]])
def test_hydras_flags_work(flag, capsys):
    try:
        code = gradlab("run", "model.depth=7", *flag)
    except SystemExit as exit:  # how Hydra ends its help
        code = exit.code
    assert not code
    assert capsys.readouterr().out
    assert not list(Path().rglob("run.json"))


def test_cfg_shows_the_override(capsys):
    assert gradlab("run", "model.depth=7", "--cfg", "job", "--package", "model") == 0
    assert "depth: 7" in capsys.readouterr().out


def test_shell_completion(capsys, monkeypatch):
    assert gradlab("run", "-sc", "install=bash") == 0
    assert "complete -o nospace" in capsys.readouterr().out
    monkeypatch.setenv("COMP_LINE", "gradlab run model.dep")
    assert gradlab("-sc", "query=bash") == 0
    assert "model.depth=" in capsys.readouterr().out.split()
    monkeypatch.setenv("COMP_LINE", "gradlab run loss=")
    assert gradlab("-sc", "query=bash") == 0
    assert {"loss=mse", "loss=bce"} <= set(capsys.readouterr().out.split())
    monkeypatch.setenv("COMP_LINE", "gradlab re")
    assert gradlab("-sc", "query=bash") == 0
    assert {"run", "report", "show"} <= set(capsys.readouterr().out.split())


def test_hydra_full_error_is_restored(monkeypatch):
    gradlab("run", "loss=mes")
    assert "HYDRA_FULL_ERROR" not in os.environ


def test_users_can_add_choices_in_the_search_path(capsys):
    files = {
        "optim/mine": "name: mine\n_target_: torch.optim.Adagrad\nlr: 0.01\n",
        "model/activation/soft": "name: soft\n_target_: torch.nn.Softsign\n",
        "optim/lost": "name: lost\nlr: 0.01\n",
    }
    for name, content in files.items():
        file = Path("user_conf", f"{name}.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    mine = ["optim=mine", "optim.lr=1", "model.activation=soft"]
    assert gradlab("run", "-cd", "user_conf", *SHORT, *mine, "hydra.run.dir=out") == 0
    config = find("out").runs[0].config
    assert (config["optim"], config["optim.lr"], config["model.activation"]) == (
        "mine",
        1.0,
        "soft",
    )
    assert gradlab("check", *SHORT, *mine, "hydra.searchpath=[user_conf]") == 0
    capsys.readouterr()
    assert gradlab("run", "-cd", "user_conf", *SHORT, "optim=mine", "optim.lr=fast") == 2
    assert "optim.lr=fast: expected a number" in one_line(capsys)
    assert gradlab("run", "-cd", "user_conf", *SHORT, "model.activation=sott") == 2
    assert "did you mean soft?" in one_line(capsys)
    assert gradlab("run", "-cd", "user_conf", *SHORT, "optim=lost") == 2
    assert "lost.yaml: expected _target_, as in the files of conf" in one_line(capsys)
