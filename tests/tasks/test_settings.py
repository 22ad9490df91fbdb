"""Settings: read from the environment, checked at once, and a bad value is named."""

import pytest

from tasks.errors import SettingsError
from tasks.settings import Settings, load_settings

BAD = {
    "PORT": ["0", "65536", "http", "-1"],
    "REDIS_URL": [
        "localhost:6379",
        "http://x",
        "redis://:pa#xq@127.0.0.1:6379/0",
        "redis://:pa/xq@127.0.0.1:6379/0",
        "redis://:pa?xq@127.0.0.1:6379/0",
        "redis://:12#34@127.0.0.1:6379/0",
        "redis://:12/34@127.0.0.1:6379/0",
        "redis://:pass@127.0.0.1:port/0",
        "redis://:pass@[::1/0",
        "redis://:pass@127.0.0.1:1,127.0.0.1:port/0",
        "redis+sentinel://127.0.0.1:26379",
        "redis+sentinel:///primary",
        "redis+sentinel://:pass@127.0.0.1:port/primary",
        "redis+sentinel://127.0.0.1:26379/primary?pass",
    ],
    "MODEL_URL": ["example.com", "ftp://x"],
    "STAND_IN_URL": ["here"],
    "MODEL_PROTOCOL": ["chat", "Completions"],
    "MAX_NEW_TOKENS": ["0", "many", "1501", "1.5"],
    "TEMPERATURE": ["-0.1", "2.1", "warm"],
    "TOP_P": ["0", "1.1"],
    "REPETITION_PENALTY": ["0", "2.1"],
    "MODEL_CONTEXT": ["255", "x"],
    "MODEL_RETRY_TIMEOUT": ["0", "-1"],
    "MODEL_READ_TIMEOUT": ["0"],
    "SESSION_TTL_SECONDS": ["0", "-5", "a day"],
    "WORKER_CONCURRENCY": ["0", "1001"],
    "LIMIT_MESSAGES_PER_MINUTE": ["-1", "x"],
    "LIMIT_MESSAGES_PER_ADDRESS": ["-1", "x"],
    "LIMIT_MESSAGES": ["-1"],
    "LIMIT_CALLS_PER_ADDRESS": ["-1"],
    "LIMIT_SESSIONS_PER_HOUR": ["-1", "none"],
    "LIMIT_SOCKETS_PER_SESSION": ["-1"],
    "LIMIT_SOCKETS_PER_ADDRESS": ["-1"],
    "LIMIT_WAITING": ["-1"],
    "TRUSTED_PROXIES": ["-1", "all"],
    "LIMIT_TEXT": ["-1", "4k"],
}


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_value_is_an_error_that_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}: "):
        load_settings()


@pytest.mark.parametrize("url", [url for url in BAD["REDIS_URL"] if ":pa" in url or ":12" in url])
def test_the_error_about_a_redis_url_shows_no_part_of_it(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert not [
        part for part in ("pa", "xq", "12", "34", "127.0.0.1") if part in str(error.value).replace("password", "")
    ]


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/redis.sock",
        "redis://u:p%23s@h:6379/0",
        "rediss://u:p@ss@h:1",
        "redis://[::1]:6379/0",
        "redis://u:p@a:1,b:2,[::1]:3/0",
        "redis+sentinel://a:1,b:2,[::1]/primary",
        "rediss+sentinel://u:p%2F@a/primary?sentinel_password=x",
    ],
)
def test_every_kind_of_redis_url_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert load_settings().redis_url == url


def test_several_bad_values_are_all_named_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "x")
    monkeypatch.setenv("LIMIT_TEXT", "y")
    with pytest.raises(SettingsError, match=r"(?s)PORT: .*LIMIT_TEXT: "):
        load_settings()


def test_an_empty_list_of_origins_allows_none_and_any_other_empty_variable_is_unset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    found = load_settings()
    assert found.allowed_origins == ()
    assert found == Settings(allowed_origins=())


def test_every_numeric_setting_has_a_bad_value_here() -> None:
    numeric = {name.upper() for name, field in Settings.model_fields.items() if field.annotation in (int, float)}
    assert numeric - set(BAD) == set()


def test_the_defaults_are_those_of_the_design() -> None:
    found = load_settings()
    assert (found.port, found.model_name, found.session_ttl_seconds, found.limit_text) == (
        3500,
        "EleutherAI/gpt-j-6b",
        86400,
        4000,
    )
    assert found.stand_in


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("HF_TOKEN", "")
    assert (load_settings().port, load_settings().hf_token) == (3500, None)


def test_the_token_is_not_to_be_seen_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in repr(load_settings())


def test_origins_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", " https://a.example/ ,, https://b.example:8443 ")
    assert load_settings().allowed_origins == ("https://a.example", "https://b.example:8443")


def test_another_model_is_no_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_URL", "https://gpt-j.example")
    assert not load_settings().stand_in


@pytest.mark.parametrize("name", ["MODEL_RETRY_TIMEOUT", "MODEL_PATIENCE"])
def test_a_setting_goes_on_working_under_its_old_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv("MODEL_PATIENCE", raising=False)
    monkeypatch.setenv(name, "7")
    assert load_settings().model_retry_timeout == 7
    monkeypatch.setenv(name, "0")
    with pytest.raises(SettingsError, match="MODEL_RETRY_TIMEOUT: "):
        load_settings()
