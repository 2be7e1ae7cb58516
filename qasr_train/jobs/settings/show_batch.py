"""Owns the settings of `show_batch`."""

from dataclasses import dataclass
from typing import Any

from qasr_train.augment.settings import AugmentConfig, ContextConfig
from qasr_train.config.settings import check_settings, setting
from qasr_train.data.settings import DataConfig
from qasr_train.errors import ConfigError


@dataclass
class ShowBatchConfig:
    """Show one padded training batch."""

    model: Any = setting(help="section; whose tokenizer and feature extractor prepare the batch")
    data: DataConfig = setting(DataConfig(), help="the sources and limits of a training run; data.train is shown")
    augment: AugmentConfig = setting(
        AugmentConfig(), help="what is done to training clips; each row says what was drawn"
    )
    context: ContextConfig = setting(ContextConfig(), help="what stands in the system turn")
    seed: int = setting(0, ge=0, help="seed of the run whose augmentation and contexts are shown")
    epoch: int = setting(
        0, ge=0, help="epoch whose augmentation and contexts are shown, from 0; clips are joined among those shown"
    )
    num_utterances: int = setting(4, ge=1, help="utterances; the first of all sources in turn, as one padded batch")
    ids: list[str] = setting([], help="utterance ids to show instead. empty: the first ones")
    color: bool | None = setting(
        None, help="whether supervised tokens are coloured besides being marked. null: on a terminal, not in a file"
    )
    out: str | None = setting(None, help="file; one JSON object an utterance instead of the picture. null: the picture")

    def __post_init__(self) -> None:
        check_settings(self, "show_batch")
        if not self.data.train:
            raise ConfigError("data.train is empty: name at least one source, e.g. data.train.main.path=manifest.jsonl")
