"""A monitor in a notebook: started and stopped by hand, displayed, drawn."""

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import gradlab
from gradlab.errors import WatchError
from gradlab.monitor.monitor import Monitor
from gradlab.sinks.memory import Memory
from tests.monitor.loops import batches, mlp, train


def sgd(model):
    return torch.optim.SGD(model.parameters(), 0.1)


def watched(steps=4, **kwargs):
    model = mlp()
    with gradlab.watch(model, optimizer := sgd(model), **kwargs) as monitor:
        train(model, optimizer, batches(steps))
    return monitor


def watch_deep_sigmoid():
    torch.manual_seed(0)
    deep = [part for _ in range(12) for part in (nn.Linear(16, 16), nn.Sigmoid())]
    model = nn.Sequential(nn.Linear(6, 16), nn.Sigmoid(), *deep, nn.Linear(16, 3))
    with gradlab.watch(model, optimizer := sgd(model)) as monitor:
        train(model, optimizer, batches(3))
    return monitor


def test_start_and_stop_record_as_a_with_statement_does():
    model, memory = mlp(), Memory()
    optimizer = sgd(model)
    monitor = gradlab.watch(model, optimizer, sinks=memory)
    assert monitor.start() is monitor
    train(model, optimizer, batches(4))
    monitor.stop()
    expected = watched()
    columns = expected.frame().columns
    assert monitor.frame()[columns].equals(expected.frame()[columns])
    assert memory.result["status"] == "completed"
    train(model, optimizer, batches(1))
    assert len(monitor.steps()) == 4


def test_stop_has_no_effect_if_the_monitor_is_stopped():
    monitor = gradlab.watch(mlp())
    monitor.stop()
    assert repr(monitor) == "Monitor(Sequential, not started, 0 recorded steps, 3 modules)"
    monitor.start()
    monitor.stop()
    monitor.stop()


def test_a_monitor_that_is_started_again_continues_its_record():
    model = mlp()
    optimizer = sgd(model)
    monitor = gradlab.watch(model, optimizer)
    for _ in range(2):
        monitor.start()
        train(model, optimizer, batches(2))
        monitor.stop()
    assert monitor.steps()["step"].tolist() == [0, 1, 2, 3]
    assert monitor.steps()["seconds"].is_monotonic_increasing


def test_watching_a_watched_model_names_the_calls_that_stop_it():
    model = mlp()
    monitor = gradlab.watch(model).start()
    for again in (lambda: gradlab.watch(model), lambda: gradlab.watch(model[0]), monitor.start):
        with pytest.raises(
            WatchError, match=r"call `monitor.stop\(\)`, or `watch.close\(\)`"
        ) as error:
            again()
        assert "\n" not in str(error.value)
    monitor.stop()
    gradlab.watch(model)


def test_a_scheduler_is_accepted_instead_of_its_optimiser():
    model = mlp()
    optimizer = sgd(model)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    with gradlab.watch(model, schedule) as monitor:
        for batch in batches(2):
            train(model, optimizer, [batch])
            schedule.step()
    assert monitor.steps()["lr"].tolist() == [0.1, 0.05]


def test_findings_equal_diagnose():
    monitor = watch_deep_sigmoid()
    assert [finding.kind for finding in monitor.findings] == ["vanishing"]
    assert [*monitor.findings] == [*monitor.diagnose()]
    assert not watched().findings


def test_a_monitor_prints_its_state_and_its_findings():
    healthy, vanishing = watched(1), watch_deep_sigmoid()
    assert repr(healthy) == "Monitor(Sequential, completed, 1 recorded step, 3 modules)"
    assert "too early to judge" in str(healthy)
    assert str(vanishing).startswith(
        "Monitor(Sequential, completed, 3 recorded steps, 14 modules)\n"
    )
    assert vanishing.findings[0].cause.partition(", because ")[0] in str(vanishing)


def test_a_notebook_shows_the_state_and_a_table_of_findings():
    page = watch_deep_sigmoid()._repr_html_()
    assert "completed, 3 recorded steps" in page
    assert "<table>" in page
    assert "vanishing" in page
    assert "too early to judge" in watched()._repr_html_()
    assert "not started" in gradlab.watch(mlp())._repr_html_()


@pytest.mark.parametrize("name", ["signal", "gradients", "timeline", "loss"])
def test_every_figure_draws_the_record(name):
    figure = watch_deep_sigmoid().figure(name)
    assert isinstance(figure, Figure)
    assert figure.get_suptitle() == "Sequential: vanishing"
    assert figure.axes[0].has_data()


def test_the_figure_of_the_signal_shows_its_norm_over_depth():
    monitor = watched(1)
    (line,) = [each for each in monitor.figure("signal").axes[0].lines if len(each.get_xdata()) > 1]
    norms = monitor.frame()["delta_norm"].astype(float)
    assert 10 ** line.get_ydata() == pytest.approx(norms.to_numpy())


def test_an_unknown_figure_names_the_nearest_one():
    with pytest.raises(WatchError, match=r"not 'signals'; did you mean signal\?"):
        watched(1).figure("signals")
    with gradlab.watch(mlp()) as empty, pytest.raises(WatchError, match="no step was recorded"):
        empty.figure("loss")


def test_no_monitor_has_more_than_ten_attributes():
    monitor = watched(1)
    for part in (monitor, monitor._tracker, monitor._signals, monitor._session):
        assert len(vars(part)) <= 10
    assert isinstance(monitor, Monitor)
