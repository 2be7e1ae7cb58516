"""Owns the settings of `sweep_strength`."""

from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting
from qasr_train.errors import ConfigError
from qasr_train.evaluation.settings import Role, SuiteConfig
from qasr_train.models.run_folder import checkpoint_in_run
from qasr_train.run.settings import Device, Precision, refuse_fp16
from qasr_train.transcription.settings import DecodeConfig


@dataclass
class SweepConfig:
    """Evaluating one fine-tune at several strengths."""

    checkpoint: str = setting(help="directory; a run's checkpoint, LoRA or whole weights")
    average: list[str] = setting([], help="directories; further checkpoints of the run, averaged with it. []: it alone")
    base: str | None = setting(
        None, help="directory or hub id; the model training started from. null: the one the adapter or the run names"
    )
    strengths: list[float] = setting(
        [0.0, 0.25, 0.5, 0.75, 1.0], ge=0, le=2, help="factors on what training changed; 0: the base, 1: as trained"
    )
    suite: SuiteConfig = setting(help="section; sets with role target and sets with role guard")
    decode: DecodeConfig = setting(DecodeConfig(), help="section; how audio is turned into text")
    max_guard_loss_points: float = setting(
        0.5,
        ge=0,
        help="percentage points; the guard sets may lose this much against strength 0, by the figures as measured "
        "(gate.max_guard_loss_points of compare.py, 3.0, goes by the upper bound of the loss)",
    )
    keep_models: bool = setting(
        False, help="whether to keep the model of every strength; else each goes after its turn"
    )
    run_dir: str = setting(
        help="directory; new for every sweep, never overwritten. out= says the same, as in every recipe"
    )
    resume: bool = setting(False, help="go on with the sweep that run_dir holds")
    device: Device = setting(Device.auto, help="where to compute. auto: a GPU where there is one")
    precision: Precision = setting(Precision.auto, help="number format of the model. auto: bf16 on a GPU, else fp32")

    def __post_init__(self) -> None:
        check_settings(self, "sweep_strength")
        self.checkpoint, *self.average = map(checkpoint_in_run, [self.checkpoint, *self.average])
        refuse_fp16(self.precision, "precision")
        self.strengths = sorted(set(self.strengths))
        if finer := [strength for strength in self.strengths if round(strength, 2) != strength]:
            raise ConfigError(
                f"strengths: {finer[0]:g} has more than two decimals, and the folders of the sweep have two; round it"
            )
        if self.strengths[:1] != [0.0]:
            raise ConfigError(
                f"strengths={self.strengths}: must hold 0, the base, since what the guard sets lose is counted from it"
            )
        roles = {one.role for one in self.suite.chosen_sets().values()}
        if missing := [role.value for role in (Role.target, Role.guard) if role not in roles]:
            raise ConfigError(
                f"suite: no set has the role {missing[0]}; the sweep weighs target sets against guard sets, so give both, "
                f"e.g. suite.sets.NAME.role={missing[0]}"
            )
