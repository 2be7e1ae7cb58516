"""Owns what the program that an export is for takes: which layouts, and of an adapter which layers and kinds.

Input: target and layout as asked for, what a family's table says, an adapter's folder. Output: the layout to write, or one
sentence that says why not and what to choose; a warning where no target is named and some would leave a part out.
"""

import logging
from collections import Counter
from pathlib import Path

from qasr_train.errors import ConfigError
from qasr_train.models.exporting.family import FamilyExport
from qasr_train.models.lora_files import adapted_layers, read_adapter_config
from qasr_train.models.settings import ExportLayout, ExportTarget

_VLLM_RANK = 16  # `--max-lora-rank` of vLLM unless it is told otherwise
_log = logging.getLogger(__name__)


def choose_layout(target: ExportTarget | None, layout: ExportLayout | None, family: FamilyExport) -> ExportLayout:
    """The layout to write: the one asked for, else the first that the target takes, else native.

    Raises:
        ConfigError: the target loads no model of this family, or not in this layout.
    """
    if target is None:
        return layout or ExportLayout.native
    takes = family.targets.get(target)
    if takes is None:
        raise ConfigError(f"target={target.value}: {family.lacks[target]}")
    if layout is not None and layout not in takes:
        names = " or ".join(f"layout={one.value}" for one in takes)
        raise ConfigError(
            f"target={target.value}: does not read layout={layout.value} of {family.card.title}; leave layout out or "
            f"take {names}"
        )
    return layout or takes[0]


def require_served(adapter: Path, target: ExportTarget | None, family: FamilyExport) -> None:
    """Say what vLLM would leave out of an adapter that is exported alone; refuse it where it is meant for vLLM.

    vLLM (0.32, run on a CPU) accepts an adapter of encoder and projector, applies the decoder's part and tells its log alone:
    3 of 10 texts were those of the merged model. It has no DoRA at all.

    Raises:
        ConfigError: the target is vLLM, and it would not compute what was trained.
    """
    if ExportLayout.adapter not in family.targets.get(ExportTarget.vllm, ()) or target is ExportTarget.peft:
        return
    config = read_adapter_config(adapter)
    problem = "it is DoRA, which vLLM cannot serve" if config.use_dora else _left_out(adapter, family)
    if problem and target is ExportTarget.vllm:
        raise ConfigError(
            f"target=vllm layout=adapter: {problem}; export the merged weights, which lose nothing: leave layout=adapter out"
        )
    if problem:
        _log.warning(
            "%s: %s; for vLLM export the merged weights, which lose nothing: layout=original or native",
            adapter,
            problem,
        )
    elif config.r > _VLLM_RANK:
        _log.warning("%s: its rank is %d, so vLLM needs --max-lora-rank %d or more", adapter, config.r, config.r)


def _left_out(adapter: Path, family: FamilyExport) -> str | None:
    """How many layers of an adapter vLLM leaves out, and where they lie; None: none."""
    layers = Counter(family.parts.locate(f"{layer}.weight")[0] for layer in adapted_layers(adapter))
    outside = [f"{number} in the {part}" for part, number in sorted(layers.items()) if part != "decoder"]
    if not outside:
        return None
    return (
        f"vLLM applies its {layers['decoder']} layers in the decoder and leaves out {' and '.join(outside)}, with nothing but a "
        "line in its log (--enable-tower-connector-lora is to apply them; it crashed on a CPU and was not tried on a GPU)"
    )
