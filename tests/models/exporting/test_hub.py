"""What goes to the Hub: files of an export alone, private unless asked otherwise, refusals in one sentence; pushed to a hub of
this machine and loaded from it again."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qasr_train.errors import CheckpointError, ConfigError, UserError
from qasr_train.jobs.export import run
from qasr_train.jobs.settings.export import ExportConfig, HubConfig
from qasr_train.models.exporting.hub import Repository, plan_upload, push
from qasr_train.models.families import load_model
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.models.qwen3_asr.layouts import save_native
from qasr_train.models.settings import ExportDtype, ExportLayout
from tests.helpers_fake_hub import FakeHub, fake_hub
from tests.helpers_model import tiny_model, tiny_processor

TOKEN = "hf_secret"
REPOSITORY = Repository("me/tuned")
CARD = "---\nlicense: apache-2.0\n---\n\n# A model\n"


def make_export(folder: Path, card: str = CARD) -> Path:
    """Files by name, as plan_upload looks at them; no model."""
    folder.mkdir(parents=True)
    save_file({"w": torch.zeros(300)}, folder / "model.safetensors")
    (folder / "config.json").write_text("{}")
    (folder / "README.md").write_text(card)
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub that `huggingface_hub` of this process talks to, logged in."""
    with fake_hub({}, home=tmp_path / "hub", token=TOKEN) as server:
        constants = "huggingface_hub.constants"
        monkeypatch.setattr(f"{constants}.ENDPOINT", server.url)
        monkeypatch.setattr(
            f"{constants}.HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(f"{constants}.HF_HUB_OFFLINE", False)
        monkeypatch.setattr(f"{constants}.HF_HUB_DISABLE_XET", True)  # its storage is no matter of HTTP alone
        monkeypatch.setattr(f"{constants}.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


NEVER = (
    "clip.wav",
    "a.flac",
    "predictions.jsonl",
    "utterances.jsonl",
    "scores.json",
    "run.json",
    "checkpoint.json",
    "manifest.jsonl",
    "report.html",
    "optimizer.pt",
    "optimizer.safetensors",
    "training_args.bin",
    "state/optimizer.safetensors",
    "state/train_state.json",
    "adapter/adapter_model.safetensors",
    "sub/README.md",
    "sub/model.safetensors",
    ".eval_results/deep/x.yaml",
    ".eval_results/texts.json",
    "model.safetensors.bak",
    "README.md.wav",
    ".git/config",
    ".env",
)
ALWAYS = (
    "README.md",
    "config.json",
    "model.safetensors",
    "model-00001-of-00002.safetensors",
    "model.safetensors.index.json",
    "generation_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    ".eval_results/owner__set__clean.yaml",
)


def test_files_of_an_export_go_up_and_no_others(tmp_path: Path) -> None:
    folder = make_export(tmp_path / "out")
    for name in (*NEVER, *ALWAYS):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        if not (folder / name).exists():
            (folder / name).write_text("x" * 5)
    upload = plan_upload(folder, REPOSITORY)
    assert set(upload.files) == set(ALWAYS)
    assert upload.files["vocab.json"] == 5
    assert {name if "/" not in name else f"{name.partition('/')[0]}/" for name in NEVER} == set(upload.left)
    lines = upload.describe().splitlines()
    total = sum(upload.files.values())
    assert f"{total:14,} bytes  14 files to me/tuned (private), licence apache-2.0" in lines
    assert "             5 bytes  vocab.json" in lines and lines[-1].startswith(
        "stays here, being no part of an export: "
    )


@pytest.mark.parametrize(
    "card", ["# A model\n", "---\nlicense: unknown\n---\n", "---\nlicense: other\n---\n", "---\nx: 1\n---\n"]
)
def test_a_card_without_a_licence_is_refused(tmp_path: Path, card: str) -> None:
    with pytest.raises(ConfigError, match=r"README.md: states no licence.*say which with license=apache-2.0"):
        plan_upload(make_export(tmp_path / "out", card), REPOSITORY)


def test_a_licence_of_ones_own_needs_name_and_link(tmp_path: Path) -> None:
    card = "---\nlicense: other\nlicense_name: our-terms\nlicense_link: LICENSE\n---\n"
    assert plan_upload(make_export(tmp_path / "out", card), REPOSITORY).licence == "our-terms"


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    folder = make_export(tmp_path / "out")
    (folder / "README.md").rename(folder / "READ.md")
    with pytest.raises(CheckpointError, match=r"holds no README.md beside weights, so it is no export of ours"):
        plan_upload(folder, REPOSITORY)
    (folder / "READ.md").rename(folder / "README.md")
    (folder / "README.md").write_text("---\n: [\n---\n")
    with pytest.raises(CheckpointError, match=r"README.md: its metadata cannot be read"):
        plan_upload(folder, REPOSITORY)


@pytest.mark.parametrize("base", ["/home/someone/base", "bundled:tiny", None])
def test_an_adapter_over_what_is_here_alone_is_refused(tmp_path: Path, base: str | None) -> None:
    folder = make_export(tmp_path / "out")
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "base_model_name_or_path": base}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"the adapter's base is .*which nobody else can get"):
        plan_upload(folder, REPOSITORY)
    (folder / "adapter_config.json").write_text(
        json.dumps(config | {"base_model_name_or_path": "Qwen/Qwen3-ASR-0.6B-hf"})
    )
    assert "adapter_model.safetensors" in plan_upload(folder, REPOSITORY).files


def settings(folder: Path | None, checkpoint: Path, **hub: object) -> ExportConfig:
    return ExportConfig(
        checkpoint=str(checkpoint),
        out=str(folder) if folder else None,
        license="apache-2.0" if folder else None,
        hub=HubConfig(repo_id="me/tuned", **hub),
    )


def test_an_export_is_pushed_private_and_what_the_hub_holds_loads_again(
    hub: FakeHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_native(tiny_model(), tiny_processor(), tmp_path / "model")
    run(settings(tmp_path / "out", tmp_path / "model", dry_run=True))
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "hub.dry_run=true: nothing was sent" and not hub.asked and not hub.repositories
    (tmp_path / "out" / "predictions.jsonl").write_text("{}")
    run(settings(None, tmp_path / "out"))
    assert hub.private == {"me/tuned"}
    announced = {line.split()[-1] for line in told[1:-2]}
    assert (
        set(hub.received) == announced == {path.name for path in (tmp_path / "out").iterdir()} - {"predictions.jsonl"}
    )
    assert "stays here, being no part of an export: predictions.jsonl" in capsys.readouterr().out
    folder = hub.repositories["me/tuned", "main"]
    assert load_file(folder / "model.safetensors").keys() == load_file(tmp_path / "out" / "model.safetensors").keys()
    assert 'from_pretrained("me/tuned"' in (folder / "README.md").read_text()

    model = load_model(Qwen3ASRConfig(path="me/tuned"), device="cpu")
    expected = tiny_model().state_dict()
    assert all(torch.equal(t, expected[n].bfloat16().float()) for n, t in model.module.state_dict().items())
    found = hub.find("me/tuned", "main")
    assert found is not None
    assert (model.origin.path, model.origin.revision) == ("me/tuned", found[1])  # type: ignore[attr-defined]


def test_a_branch_is_made_and_pushed_to(hub: FakeHub, tmp_path: Path) -> None:
    folder = make_export(tmp_path / "out")
    address = push(plan_upload(folder, REPOSITORY))
    push(plan_upload(folder, Repository("me/tuned", revision="step-100")))
    found = hub.find("me/tuned", "main")
    assert found is not None and address == f"{hub.url}/me/tuned/commit/{found[1]}"
    assert (hub.repositories["me/tuned", "step-100"] / "config.json").read_text() == "{}"


def test_a_public_repository_is_refused_unless_public_is_asked_for(hub: FakeHub, tmp_path: Path, caplog) -> None:
    folder = make_export(tmp_path / "out")
    push(plan_upload(folder, Repository("me/tuned", is_private=False)))
    assert not hub.private
    num_received = len(hub.received)
    with pytest.raises(ConfigError, match=r"hub.repo_id=me/tuned: this repository is public, and hub.private=true"):
        push(plan_upload(folder, REPOSITORY))
    assert len(hub.received) == num_received
    hub.private.add("me/tuned")
    push(plan_upload(folder, Repository("me/tuned", is_private=False)))
    assert "this repository is private already and stays so" in caplog.text


def test_refusals_of_the_hub_are_one_sentence(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_export(tmp_path / "out")
    upload = plan_upload(folder, Repository("somebody/else"))
    with pytest.raises(
        ConfigError, match=r"^hub.repo_id=somebody/else: the Hub does not let this token write there \(403\)"
    ):
        push(upload)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ConfigError, match=r"the Hub does not let this token write there \(401\)"):
        push(upload)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        ConfigError, match=r"the Hub cannot be reached or broke off .*what was exported is kept, try again"
    ):
        push(upload)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConfigError, match=r"HF_HUB_OFFLINE is set; unset it to push"):
        push(upload)
    assert not hub.received


def test_mistakes_are_refused_before_anything_is_exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qasr_train.models.exporting.hub.get_token", lambda: None)
    for changes, message in (
        ({}, "hub.repo_id: this machine has no token of the Hub; log in with `hf auth login`"),
        ({"hub": HubConfig(repo_id="tuned")}, "hub.repo_id=tuned: name the owner too, OWNER/NAME"),
        ({"hub": HubConfig(repo_id="me/tu ned")}, "hub.repo_id=me/tu ned: is no name of a repository"),
    ):
        config = {"checkpoint": "gone", "out": str(tmp_path / "out"), "hub": HubConfig(repo_id="me/tuned")}
        with pytest.raises(UserError, match=message):
            run(ExportConfig(**{**config, **changes}))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "out: say where the export goes"),
        (
            {"hub": HubConfig(repo_id="me/x"), "license": "mit"},
            "license: shapes an export, and without out= none is written",
        ),
        ({"hub": HubConfig(repo_id="me/x"), "strength": 0.5}, "strength: shapes an export"),
        ({"hub": HubConfig(repo_id="me/x"), "layout": ExportLayout.adapter}, "layout: shapes an export"),
        ({"hub": HubConfig(repo_id="me/x"), "dtype": ExportDtype.float32}, "dtype: shapes an export"),
        ({"out": "o", "license": "Apache 2"}, "license=Apache 2: expected an identifier as the Hub writes it"),
        ({"out": "o", "benchmarks": {"a": "only/two"}}, "benchmarks.a=only/two: expected OWNER/NAME/TASK"),
    ],
)
def test_settings_that_say_nothing_are_refused(given: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExportConfig(checkpoint="c", **given)
