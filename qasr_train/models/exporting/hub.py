"""Owns bringing an export to the Hugging Face Hub: which of its files go up, which never do, and who may see them there.

Input: the folder of an export, a repository. Output: an `Upload`, to be told beforehand; the commit it became; or a sentence.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import HfApi, ModelCard, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from qasr_train.errors import CheckpointError, ConfigError
from qasr_train.models.exporting.model_card import CARD_FILE
from qasr_train.models.exporting.origin import is_public
from qasr_train.models.locations import BUNDLED, one_line
from qasr_train.models.lora_files import is_adapter, read_adapter_config

# All that ever goes up, by whole paths. Recordings, transcripts, predictions, optimizer states and records of runs are none.
_FILES = re.compile(
    r"README\.md|LICENSE(\.txt)?|NOTICE"
    r"|config\.json|generation_config\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|model\.bin|vocabulary\.json|model\.gguf"  # CTranslate2, GGUF
    r"|adapter_config\.json|adapter_model\.safetensors"
    r"|processor_config\.json|preprocessor_config\.json|chat_template\.(json|jinja)"
    r"|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.json|merges\.txt|normalizer\.json"
    r"|\.eval_results/[\w.-]+\.yaml"
)
_WEIGHTS = re.compile(r"(adapter_)?model.*\.safetensors|model\.bin|model\.gguf")
_NO_LICENCE = (None, "", "unknown", "other")  # the Hub's "other" needs a name and a link besides
_FORBIDDEN = (401, 403)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repository:
    """Where an export goes on the Hub.

    repo_id: owner/name. is_private: whether it is to be. revision: branch, made where there is none; None: its default branch.
    """

    repo_id: str
    is_private: bool = True
    revision: str | None = None


@dataclass(frozen=True)
class Upload:
    """What goes up. files: path in the folder -> bytes. left: paths that stay here, folders by their name with a slash."""

    folder: Path
    repository: Repository
    licence: str
    files: dict[str, int]
    left: list[str]

    def describe(self) -> str:
        """The files with their sizes, the repository, who may see it, and what stays here; lines for the terminal."""
        to = self.repository
        lines = [f"{size:14,} bytes  {path}" for path, size in self.files.items()]
        total = sum(self.files.values())
        branch = f", branch {to.revision}" if to.revision else ""
        who = "private" if to.is_private else "PUBLIC: everybody can read it"
        lines.append(
            f"{total:14,} bytes  {len(self.files)} files to {to.repo_id}{branch} ({who}), licence {self.licence}"
        )
        if self.left:
            lines.append(f"stays here, being no part of an export: {', '.join(self.left)}")
        return "\n".join(lines)


def require_repo_id(repo_id: str, key: str) -> None:
    """Refuse a name that no repository on the Hub can have (ConfigError)."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ConfigError(f"{key}={repo_id}: is no name of a repository ({one_line(error)})") from None
    if repo_id.count("/") != 1:
        raise ConfigError(f"{key}={repo_id}: name the owner too, OWNER/NAME")


def plan_upload(folder: Path, repository: Repository) -> Upload:
    """What would go up; nothing is sent, no network is needed.

    Raises:
        ConfigError: the card has no licence; an adapter names a base that nobody else can get.
        CheckpointError: the folder is no export: weights or card are missing, or the card is damaged.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = {name: (folder / name).stat().st_size for name in names if _FILES.fullmatch(name)}
    if CARD_FILE not in files or not any(_WEIGHTS.fullmatch(name) for name in files):
        raise CheckpointError(
            f"{folder}: holds no {CARD_FILE} beside weights, so it is no export of ours; export to a new folder with out="
        )
    _refuse_private_base(folder)
    left = {name if "/" not in name else f"{name.partition('/')[0]}/" for name in names if name not in files}
    return Upload(folder, repository, _licence_of(folder / CARD_FILE), files, sorted(left))


def require_login() -> None:
    """Refuse to begin what cannot end (ConfigError): there is no token of the Hub on this machine."""
    if get_token() is None:
        raise ConfigError(
            "hub.repo_id: this machine has no token of the Hub; log in with `hf auth login` or set HF_TOKEN, with the right to "
            "write, or see what would go up with hub.dry_run=true"
        )


def push(upload: Upload) -> str:
    """Send the files in one commit, to a repository that is made where there is none; returns the commit's address.

    Raises:
        ConfigError: no token, no network, no right to write there; the repository is public and `is_private` is asked for.
    """
    require_login()
    to, api = upload.repository, HfApi()
    with _told_plainly(to):
        is_private = _find_or_create(api, to)
        if to.is_private and not is_private:
            raise ConfigError(
                f"hub.repo_id={to.repo_id}: this repository is public, and hub.private=true asks for a private one; name "
                "another, make it private on the Hub, or say hub.private=false"
            )
        if to.revision is not None:
            api.create_branch(to.repo_id, branch=to.revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=to.repo_id,
            folder_path=upload.folder,
            revision=to.revision,
            allow_patterns=list(upload.files),
            commit_message="Export of qasr_train",
        )
    return str(commit.commit_url)


def _find_or_create(api: HfApi, to: Repository) -> bool:
    """Whether the repository is private; one that exists stays as it is."""
    try:
        is_private = bool(api.repo_info(to.repo_id).private)
    except RepositoryNotFoundError:
        api.create_repo(to.repo_id, private=to.is_private)
        return to.is_private
    if is_private and not to.is_private:
        _log.warning("hub.repo_id=%s: this repository is private already and stays so", to.repo_id)
    return is_private


@contextmanager
def _told_plainly(to: Repository) -> Iterator[None]:
    """Around what asks the Hub: each of its refusals, and its absence, in one sentence."""
    where = f"hub.repo_id={to.repo_id}"
    try:
        yield
    except OfflineModeIsEnabled:
        raise ConfigError(f"{where}: HF_HUB_OFFLINE is set; unset it to push") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "nothing"
        if status in _FORBIDDEN:
            raise ConfigError(
                f"{where}: the Hub does not let this token write there ({status}); name a repository of your own or of an "
                "organisation that you may write to, with a token that has the right to write (`hf auth login`)"
            ) from error
        raise ConfigError(f"{where}: the Hub answered {status} ({one_line(error)}); try again") from error
    except (HTTPError, OSError, RuntimeError) as error:  # RuntimeError: of the upload of large files
        raise ConfigError(
            f"{where}: the Hub cannot be reached or broke off ({one_line(error)}); what was exported is kept, try again"
        ) from error


def _licence_of(card: Path) -> str:
    """The licence that a card states.

    Raises:
        ConfigError: it states none. CheckpointError: its metadata cannot be read.
    """
    try:
        data: Any = ModelCard.load(card).data
    except (ValueError, TypeError, OSError, yaml.YAMLError) as error:
        raise CheckpointError(f"{card}: its metadata cannot be read ({one_line(error)}); export again") from error
    licence = data.get("license")
    name, link = data.get("license_name"), data.get("license_link")
    if licence == "other" and name and link:
        return str(name)
    if licence in _NO_LICENCE:
        raise ConfigError(
            f"{card}: states no licence, and what has none may not be used by anybody; say which with license=apache-2.0 or "
            "another identifier of the Hub, or write `license:` into the card"
        )
    return str(licence)


def _refuse_private_base(folder: Path) -> None:
    """Refuse an adapter over what lies on this machine alone: its path would go up, and nobody could open it."""
    if not is_adapter(folder):
        return
    base = read_adapter_config(folder).base_model_name_or_path or ""
    if base.startswith(BUNDLED) or not is_public(base):
        raise ConfigError(
            f"{folder}: the adapter's base is {base or 'not named'}, which nobody else can get; publish it and export with "
            "base=HUB_ID, or push the merged weights (layout=native)"
        )
