"""Owns the settings of `export`."""

import re
from dataclasses import dataclass, field

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.models.run_folder import checkpoint_in_run
from qasr_train.models.settings import ExportDtype, ExportLayout, ExportTarget
from qasr_train.run.settings import Device

_UNITS = ("B", "KB", "MB", "GB", "TB")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]B)", re.IGNORECASE)
_BENCHMARK = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*/[\w.-]+")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")  # as the Hub writes them: apache-2.0, cc-by-nc-4.0


@dataclass
class HubConfig:
    """Pushing what is exported to the Hugging Face Hub. The token is the one of `hf auth login`, or HF_TOKEN."""

    repo_id: str | None = setting(
        None, help="name; OWNER/NAME of the repository, made where there is none. null: nothing is pushed"
    )
    private: bool = setting(
        True, help="whether only its owners may see it; a repository that is public already is refused then"
    )
    revision: str | None = setting(
        None, help="name; branch to push to, made where there is none. null: the default branch"
    )
    dry_run: bool = setting(False, help="print which files would go where, and send nothing")

    def __post_init__(self) -> None:
        check_settings(self, "hub")


@dataclass
class ExportConfig:
    """Writing a model for others to load."""

    checkpoint: str = setting(help="directory or hub id; a run's checkpoint, a Qwen3-ASR or Whisper, or a LoRA adapter")
    out: str | None = setting(
        None,
        help="directory; new or empty, where the export goes. null: `checkpoint` is an export, pushed to hub.repo_id as it lies",
    )
    target: ExportTarget | None = setting(
        None,
        help="program; is to load it, so that what it does not take is refused. null: any, what some leave out is said",
    )
    layout: ExportLayout | None = setting(
        None,
        help="how the files are laid out; native: transformers, original: qwen-asr, adapter: PEFT, ctranslate2: faster-whisper, "
        "gguf: CrispASR. null: for `target`",
    )
    dtype: ExportDtype = setting(
        ExportDtype.auto,
        help="number format of the weights. auto: that of the published models, bfloat16 (Qwen3-ASR) or float16 (Whisper)",
    )
    average: list[str] = setting(
        [], help="directories; further checkpoints of the run, averaged with `checkpoint`. []: it alone"
    )
    strength: float = setting(
        1.0,
        ge=0,
        le=2,
        help="factor on what training changed. 1: as trained, 0: the base, between them: gains less and forgets less",
    )
    base: str | None = setting(
        None, help="directory or hub id; the model training started from. null: the one the adapter or the run names"
    )
    revision: str | None = setting(
        None, help="git revision of `checkpoint`, if it is a hub id. null: its default branch"
    )
    max_shard_size: str | None = setting(
        None, help="size (5GB, 500MB); the most that one weight file holds. null: one file however large"
    )
    verify_on: str | None = setting(
        None,
        help="manifest or other source with transcripts; checkpoint and export both hear it, and what differs is said. null: off",
    )
    max_wer_increase: float = setting(
        0.5, ge=0, help="points of WER (CER); an export that is worse on `verify_on` by more, as measured, is not kept"
    )
    device: Device = setting(Device.auto, help="where `verify_on` is heard. auto: a GPU where there is one")
    results: list[str] = setting(
        [],
        help="folders of evaluate, score or compare runs of these very weights; their figures go into the model card",
    )
    benchmarks: dict[str, str] = setting(
        {},
        help="set of the results -> OWNER/NAME/TASK of the benchmark on the Hub that it is; written to .eval_results",
    )
    license: str | None = setting(
        None,
        help="name; identifier of the Hub, e.g. cc-by-4.0, for the card. null: that of the published base, if known",
    )
    hub: HubConfig = field(default_factory=HubConfig)

    def __post_init__(self) -> None:
        check_settings(self, "export")
        self.checkpoint, *self.average = map(checkpoint_in_run, [self.checkpoint, *self.average])
        self._check_card()
        if self.out is None:
            self._check_push()
        if self.max_shard_size is not None and not self.max_shard_bytes:
            raise ConfigError(
                f"max_shard_size={self.max_shard_size}: expected a size such as 5GB or 500MB (KB, MB, GB, TB)"
            )
        if self.dtype is ExportDtype.int8 and self.verify_on is None:
            raise ConfigError(
                "dtype=int8: rounding to whole numbers may cost words, so it is checked before it is kept; name recordings with "
                "transcripts: verify_on=MANIFEST"
            )
        if self.verify_on is not None and (self.average or self.strength != 1.0):
            raise ConfigError(
                "verify_on: asks whether the export says what the checkpoint says, and with strength or average it is meant "
                "to say something else; leave it out, and evaluate the export by recipes/evaluate.py"
            )

    def _check_card(self) -> None:
        if self.license is not None and not _LICENCE.fullmatch(self.license):
            raise ConfigError(
                f"license={self.license}: expected an identifier as the Hub writes it, in lower case: apache-2.0, mit, cc-by-4.0"
            )
        for name, benchmark in self.benchmarks.items():
            if not _BENCHMARK.fullmatch(benchmark):
                raise ConfigError(
                    f"benchmarks.{name}={benchmark}: expected OWNER/NAME/TASK, a dataset of the Hub and a task of its eval.yaml"
                )

    def _check_push(self) -> None:
        """Without `out` nothing is written, so that what shapes an export says nothing."""
        if self.hub.repo_id is None:
            raise ConfigError(
                "out: say where the export goes; without it an export is pushed as it lies, to hub.repo_id"
            )
        shaping = "target layout average base max_shard_size verify_on results benchmarks license".split()
        given = [name for name in shaping if getattr(self, name)]
        given += ["dtype"] * (self.dtype is not ExportDtype.auto) + ["strength"] * (self.strength != 1.0)
        if given:
            raise ConfigError(f"{given[0]}: shapes an export, and without out= none is written; give out=NEW_FOLDER")

    @property
    def max_shard_bytes(self) -> int | None:
        """`max_shard_size` in bytes, units of a thousand as on the Hub."""
        found = _SIZE.fullmatch(self.max_shard_size or "")
        return int(float(found[1]) * 1000 ** _UNITS.index(found[2].upper())) if found else None
