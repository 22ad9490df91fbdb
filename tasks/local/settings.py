"""The settings of the local model server, read from the environment; a bad value is an error that names it."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from tasks.local.processes import ROOT
from tasks.settings import read_environment


class LocalSettings(BaseSettings):
    """The environment as typed values; an empty variable counts as unset."""

    model_config = SettingsConfigDict(env_ignore_empty=True, frozen=True)

    local_model_folder: Path = Field(ROOT / ".data" / "models", description="Where downloaded models are kept.")
    local_model_slots: int | None = Field(
        None, ge=1, le=64, description="Replies that the local model writes at once; more wait."
    )
    local_model_cache_gb: int | None = Field(
        None, ge=1, le=256, description="GiB for the attention cache of the local model; a full window must fit."
    )


def load_local_settings() -> LocalSettings:
    """Read the settings of a local model from the environment. Raises SettingsError."""
    return read_environment(LocalSettings)
