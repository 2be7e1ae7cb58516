"""Owns the limits of a server, and who may reach it."""

import ipaddress
from dataclasses import dataclass

from qasr_train.config.settings import check_settings, setting


@dataclass
class LimitsConfig:
    """What a server refuses, so that one client takes neither its memory nor its time from the others."""

    max_upload_mb: float = setting(
        100.0, gt=0, help="megabytes; an upload is refused as soon as so much of it came (413)"
    )
    max_audio_s: float = setting(
        7200.0, gt=0, help="seconds; a longer recording is refused before anything of it is heard (400)"
    )
    max_requests: int = setting(
        8,
        ge=1,
        help="uploads being read, waiting or transcribed; further ones are refused (429). One at a time computes",
    )
    max_live_sessions: int = setting(2, ge=0, help="microphones heard at once; further ones are refused. 0: none")
    max_live_s: float = setting(3600.0, gt=0, help="seconds of sound; a microphone's session ends there, with its text")
    max_behind_s: float = setting(
        60.0,
        gt=0,
        help="seconds of sound not heard yet; a session further behind ends: the model is too slow for it here",
    )
    idle_s: float = setting(
        30.0, gt=0, help="seconds; a client that sends nothing for so long, in the midst of sending, is given up"
    )

    def __post_init__(self) -> None:
        check_settings(self, "limits")

    @property
    def max_upload_bytes(self) -> int:
        """`max_upload_mb` in bytes, a megabyte being a million."""
        return int(self.max_upload_mb * 1_000_000)


def is_loopback(host: str) -> bool:
    """Whether what a server is bound to is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
