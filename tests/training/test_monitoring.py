"""Figures of training: means worked out by hand, nothing invented where a rate is not known."""

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from qasr_train.training.monitoring import Monitor, StepResult, Stopwatch, Window, drift_figures, peak_tflops


def result(**values: object) -> StepResult:
    plain = {"loss_nats": 2.0, "token_accuracy": 0.5, "grad_norm": 1.0, "num_targets": 10, "audio_s": 20.0}
    return StepResult(**(plain | {"num_utterances": 4, "padded_fraction": 0.25} | values))  # type: ignore[arg-type]


def window_of(
    results: list[StepResult], *, elapsed_s: float, monkeypatch: pytest.MonkeyPatch, **fields: float
) -> Window:
    window = Window(began_s=100.0, **fields)
    for one in results:
        window.add(one, 0.5)
    monkeypatch.setattr("qasr_train.training.monitoring.time.perf_counter", lambda: 100.0 + elapsed_s)
    return window


def test_a_window_weighs_losses_by_their_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [result(), result(loss_nats=5.0, num_targets=30, audio_s=40.0)]
    figures = window_of(steps, elapsed_s=4.0, monkeypatch=monkeypatch).figures()
    assert figures["train/loss_nats"] == (2.0 * 10 + 5.0 * 30) / 40
    assert figures["train/audio_s_per_s"] == 60 / 4
    assert figures["train/targets_per_s"] == 10
    assert figures["train/data_wait_fraction"] == 1.0 / 4


def test_a_skipped_step_leaves_the_means_finite_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [result(), result(loss_nats=float("nan"), is_skipped=True)]
    figures = window_of(steps, elapsed_s=1.0, monkeypatch=monkeypatch).figures()
    assert (figures["train/loss_nats"], figures["train/skipped_steps"]) == (2.0, 1)
    only = window_of([steps[1]], elapsed_s=1.0, monkeypatch=monkeypatch).figures()
    assert "train/loss_nats" not in only and only["train/skipped_steps"] == 1


def test_utilisation_is_operations_over_what_the_devices_could_do(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [result(num_flops=3e12), result(num_flops=5e12)]
    known = window_of(steps, elapsed_s=2.0, monkeypatch=monkeypatch, peak_tflops=16.0)
    assert known.figures()["train/model_flop_utilisation"] == 0.25
    unknown = window_of(steps, elapsed_s=2.0, monkeypatch=monkeypatch)
    assert unknown.figures()["train/model_flop_utilisation"] is None
    uncounted = window_of([*steps, result()], elapsed_s=2.0, monkeypatch=monkeypatch, peak_tflops=16.0)
    assert uncounted.figures()["train/model_flop_utilisation"] is None


@pytest.mark.parametrize(
    ("device_name", "precision", "setting", "expected"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", None, 2 * 989.0),
        ("NVIDIA H100 PCIe", "bf16", None, 2 * 756.0),
        ("NVIDIA L40S", "bf16", None, 2 * 362.0),
        ("NVIDIA H100 80GB HBM3", "no", None, None),  # the table is of bfloat16
        ("Some New Thing", "bf16", None, None),
        ("Some New Thing", "no", 50.0, 100.0),
    ],
)
def test_the_peak_of_all_devices_is_known_or_none(device_name, precision, setting, expected, monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: device_name)
    accelerator = SimpleNamespace(device=torch.device("cuda"), mixed_precision=precision, num_processes=2)
    assert peak_tflops(accelerator, setting) == expected  # type: ignore[arg-type]
    assert peak_tflops(Accelerator(cpu=True), None) is None


def test_processes_that_drift_are_listed_and_even_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = SimpleNamespace(num_processes=2)
    window = Window()
    window.add(result(own_s=1.5), 0.5)  # this process: 2 s a step
    for other_s, expected in (
        (
            6.0,
            {
                "train/slowest_process_ratio": 1.5,
                "train/own_s_per_step/process_0": 2.0,
                "train/own_s_per_step/process_1": 6.0,
            },
        ),
        (2.2, {"train/slowest_process_ratio": pytest.approx(2.2 / 2.1)}),
    ):
        monkeypatch.setattr(
            "qasr_train.training.monitoring.gather_object", lambda own, other_s=other_s: [*own, other_s]
        )
        assert drift_figures(accelerator, window) == expected  # type: ignore[arg-type]
    assert drift_figures(SimpleNamespace(num_processes=1), window) == {}  # type: ignore[arg-type]


def test_a_stopwatch_adds_up_its_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([1.0, 3.0, 10.0, 10.5])
    monkeypatch.setattr("qasr_train.training.monitoring.time.perf_counter", lambda: next(clock))
    watch = Stopwatch(torch.device("cpu"))
    for _ in range(2):
        with watch:
            pass
    assert watch.read_s() == 2.5


def test_the_rates_of_parts_are_told_where_they_differ() -> None:
    def monitor(**rates: float) -> Monitor:
        groups = [{"part": part, "lr": rate} for part, rate in rates.items() for _ in range(2)]
        return Monitor(SimpleNamespace(), SimpleNamespace(param_groups=groups), SimpleNamespace())

    apart = monitor(encoder=1e-5, decoder=1e-4)
    assert apart.lr_of_parts() == {"train/lr/encoder": 1e-5, "train/lr/decoder": 1e-4} and apart.lr == 1e-4
    assert monitor(encoder=1e-4, decoder=1e-4).lr_of_parts() == {}
