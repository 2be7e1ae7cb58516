"""Owns gradient checkpointing of transformers' layers: activations computed again in the backward pass instead of kept."""

from typing import Any


def checkpoint_layers(part: Any, enabled: bool) -> None:
    """Turn it on or off for the layers of a part, a model of transformers such as an encoder or a decoder."""
    if enabled == part.gradient_checkpointing:
        return
    # Newer transformers call the pair `activation_...` and warn of the old name.
    new = f"activation_checkpointing_{'enable' if enabled else 'disable'}"
    name = new if hasattr(part, new) else new.replace("activation", "gradient")
    getattr(part, name)(*({"use_reentrant": False},) * enabled)
