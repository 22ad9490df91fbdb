"""Every setting, read from the environment and checked once at start; a bad value is an error that names it."""

from functools import cache
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tasks.errors import SettingsError
from tasks.redis_url import addresses, parse_sentinel

DEFAULT_PREAMBLE = (
    "The following is a conversation between {person} and Bot, an AI assistant. "
    "Bot is friendly, honest and brief, and says so when it does not know something."
)

Limit = Annotated[int, Field(ge=0)]
AnySettings = TypeVar("AnySettings", bound=BaseSettings)


class Settings(BaseSettings):
    """The environment as typed values; an empty variable counts as unset, except ALLOWED_ORIGINS."""

    model_config = SettingsConfigDict(frozen=True, protected_namespaces=())

    host: str = Field("0.0.0.0", description="Address the web process listens on.")
    port: int = Field(3500, ge=1, le=65535, description="Port the web process listens on.")
    redis_url: str = Field(
        "redis://127.0.0.1:6379/0",
        pattern=r"^(rediss?|rediss?\+sentinel|unix)://",
        # It may hold a password.
        repr=False,
        description="Redis with JSON: a server, some nodes of a cluster (`redis://host:port,host:port`), or "
        "`redis+sentinel://host:port,host:port/name`. "
        "Unset, `make run` starts an embedded one.",
    )

    model_url: str = Field(
        "http://127.0.0.1:3501",
        pattern=r"^https?://",
        description="The model server, base address or full path. Unset, `make run` starts the stand-in.",
    )
    stand_in_url: str = Field(
        "http://127.0.0.1:3501",
        pattern=r"^https?://",
        description="Where the stand-in listens; while MODEL_URL is the same, the page says so.",
    )
    model_protocol: Literal["text-generation", "completions"] = Field(
        "text-generation",
        description="`text-generation`: Hugging Face endpoints and TGI; `completions`: OpenAI-compatible, vLLM.",
    )
    model_name: str = Field("EleutherAI/gpt-j-6b", description="Shown on the page; sent with `completions`.")
    hf_token: SecretStr | None = Field(None, description="Bearer token for the model server.")
    max_new_tokens: int = Field(200, ge=1, le=1500, description="Longest reply, in tokens.")
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 is greedy.")
    top_p: float = Field(0.9, gt=0, le=1, description="Nucleus sampling; 1 is off.")
    repetition_penalty: float = Field(1.1, gt=0, le=2, description="1 is off.")
    preamble: str = Field(DEFAULT_PREAMBLE, description="Opens every prompt; `{person}` becomes the person's name.")
    model_context: int = Field(2048, ge=256, description="Tokens that prompt and reply share.")
    model_retry_timeout: float = Field(
        300,
        # The second is its old name.
        validation_alias=AliasChoices("model_retry_timeout", "model_patience"),
        gt=0,
        description="Seconds that a reply waits for its next word before it fails.",
    )
    model_read_timeout: float = Field(
        60, gt=0, description="Seconds without a byte after which a stream counts as cut."
    )

    metrics_token: SecretStr | None = Field(
        None, description="Bearer token that /metrics and the details of /readyz ask for. Unset, anybody may read them."
    )
    session_ttl_seconds: int = Field(86400, ge=1, description="A conversation lives this long after its last use.")
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        ("http://localhost:3000", "http://127.0.0.1:3000"),
        description="Origins (comma-separated) that may call besides the page's own; `*` allows all, empty none.",
    )
    trusted_proxies: int = Field(
        0, ge=0, le=5, description="Number of trusted proxies in front of `web`; 1 on Heroku, 3 on Render."
    )
    worker_concurrency: int = Field(
        256,
        # The second is its old name.
        validation_alias=AliasChoices("worker_concurrency", "replies_per_worker"),
        ge=1,
        le=1000,
        description="Replies that one worker process writes at once; the Procfile gives each a thread.",
    )

    limit_messages_per_minute: Limit = Field(30, description="Messages of one session per minute.")
    limit_messages_per_address: Limit = Field(
        120, description="Messages of one address per minute; ten times as many frames of all types."
    )
    limit_calls_per_address: Limit = Field(
        600, description="Calls and new sockets of one address per minute, in each web process."
    )
    limit_sessions_per_hour: Limit = Field(100, description="New sessions of one address per hour.")
    limit_sockets_per_session: Limit = Field(20, description="Open sockets of one session.")
    limit_sockets_per_address: Limit = Field(100, description="Open sockets of one address.")
    limit_waiting: Limit = Field(1000, description="Replies waiting in the whole system.")
    limit_messages: Limit = Field(5000, description="Messages in one conversation, replies included.")
    limit_text: Limit = Field(4000, description="Characters in one message.")

    @property
    def stand_in(self) -> bool:
        """Whether the built-in model server answers instead of GPT-J."""
        return self.model_url == self.stand_in_url

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, value: str) -> str:
        """Find what is no address here, since the client's own error quotes parts of it, a password among them."""
        try:
            wrong = not all(map(_is_address, addresses(value)))
        except ValueError:
            wrong = True
        if wrong:
            raise ValueError("this is no address; in a name or password write # as %23, / as %2F, ? as %3F, @ as %40")
        return value

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, values: dict[str, Any]) -> dict[str, Any]:
        """An empty list of origins is a list; anything else that is empty is unset."""
        return {name: value for name, value in values.items() if value != "" or name == "allowed_origins"}

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value


def _is_address(url: str) -> bool:
    """Whether this names one server, or the sentinels of one. May raise ValueError if not."""
    if parse_sentinel(url):
        return True
    parts = urlsplit(url)
    return not parts.fragment and parts.port != 0 and (parts.scheme == "unix" or "@" not in parts.path + parts.query)


def load_settings() -> Settings:
    """Read the settings of a deployed process from the environment. Raises SettingsError."""
    return read_environment(Settings)


def read_environment(kind: type[AnySettings]) -> AnySettings:
    """Read settings of one kind from the environment.

    Raises SettingsError naming every variable that is wrong.
    """
    try:
        return kind()
    except ValidationError as error:
        wrong = "; ".join(f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors(include_input=False))
        raise SettingsError(f"Wrong settings: {wrong}") from None


@cache
def settings() -> Settings:
    """The process's settings, read once. Raises SystemExit with wrong ones."""
    try:
        return load_settings()
    except SettingsError as error:
        raise SystemExit(f"parley: {error}") from None
