"""Settings: from the environment, checked, and a key goes to Dialpad's hosts only."""

from __future__ import annotations

import base64

import pytest
from pydantic import ValidationError

from dialpad_ivr.proxy_url import check_proxy
from dialpad_ivr.settings import OTHER_VARIABLES, Settings, SettingsError, check_api_url, load_settings


def test_defaults_are_the_documented_limits() -> None:
    settings = Settings()
    assert (settings.patch_limit, settings.patch_window_seconds) == (1200, 60)
    assert (settings.company_limit, settings.company_window_seconds) == (20, 1)
    assert settings.api_url == "https://dialpad.com"
    assert settings.grace_seconds == 25


@pytest.mark.parametrize(
    "url",
    ["http://conductor:8080", "http://conductor:8080/", "http://conductor:8080/api/", "http://conductor:8080/api"],
)
def test_server_url_is_normalized_to_end_in_api(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_SERVER_URL", url)
    assert load_settings().server_url == "http://conductor:8080/api"


@pytest.mark.parametrize("host", ["https://dialpad.com", "https://sandbox.dialpad.com"])
def test_dialpad_hosts_are_allowed(host: str) -> None:
    assert check_api_url(host, allow_loopback=False) == host


@pytest.mark.parametrize("host", ["http://127.0.0.1:8100", "http://127.1.2.3", "http://[::1]:80", "https://127.0.0.1"])
def test_loopback_address_is_allowed_only_by_setting(host: str) -> None:
    assert check_api_url(host, allow_loopback=True) == host
    with pytest.raises(ValueError, match="DIALPAD_IVR_ALLOW_LOOPBACK"):
        check_api_url(host, allow_loopback=False)


@pytest.mark.parametrize(
    "host",
    [
        "http://dialpad.com",
        "https://dialpad.com/",
        "https://dialpad.com:8443",
        "https://dialpad.com@evil.example",
        "https://user:pw@dialpad.com",
        "https://dialpad.com.evil.example",
        "https://evil.example/dialpad.com",
        "https://dialpad.com%2eevil.example",
        "https://dialpad.com\u3002evil.example",
        "https://d\u0456alpad.com",
        "https://DIALPAD.com",
        "http://localhost:8100",
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://127.0.0.1@evil.example",
        "http://user@127.0.0.1",
        "http://127.0.0.1:80/path",
        "http://127.0.0.1?x",
        "http://127.0.0.1#x",
        "http://127.0.0.1:99999",
        "http://2130706433",
        "http://0x7f.1",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://[::ffff:10.0.0.1]",
        "ftp://127.0.0.1",
        "",
        "dialpad.com",
    ],
)
def test_any_other_host_is_rejected(host: str) -> None:
    with pytest.raises(ValueError, match="key is sent to no other host"):
        check_api_url(host, allow_loopback=True)


def test_errors_are_listed_without_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", "https://user:SECRET@evil.example")
    monkeypatch.setenv("DIALPAD_IVR_CONCURRENCY", "SECRET")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "SECRET" not in str(caught.value)
    lines = dict(line.split(": ", 1) for line in str(caught.value).splitlines())
    assert set(lines) == {"DIALPAD_IVR_API_URL", "DIALPAD_IVR_CONCURRENCY"}
    assert lines["DIALPAD_IVR_API_URL"].startswith("must be")  # the validator's own message, without a prefix


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CONDUCTOR_SERVER_URL", "conductor:8080"),
        ("DIALPAD_IVR_SERVER_URL", "conductor:8080"),
        ("CONDUCTOR_SERVER_URL", "http://"),
        ("CONDUCTOR_SERVER_URL", "http://conductor:99999"),
        ("CONDUCTOR_SERVER_URL", "http://user:hunter2@conductor:8080"),
        ("DIALPAD_IVR_REDIS_URL", "http://redis:6379"),
        ("DIALPAD_IVR_REDIS_URL", "redis://"),
        ("DIALPAD_IVR_REDIS_URL", "redis://:hunter2@redis:99999"),
        ("DIALPAD_IVR_REDIS_URL", "unix://"),
        ("DIALPAD_IVR_PROXY_URL", "proxy.example.com:3128"),
        ("DIALPAD_IVR_PROXY_URL", "socks5://user:hunter2@proxy.example.com"),
        ("DIALPAD_IVR_PROXY_URL", "http://user:hunter2@"),
        ("DIALPAD_IVR_PROXY_URL", "http://user:hunter2@proxy:99999"),
        ("DIALPAD_IVR_PROXY_URL", "http://user:hunter2@proxy/pac"),
        ("DIALPAD_IVR_PROXY_URL", "http://user:hunter2/@proxy"),
        ("DIALPAD_IVR_PROXY_URL", "http://user:hunter2@proxy?x"),
        ("DIALPAD_IVR_PROXY_URL", "http://user:hunter2@pr oxy"),
        ("DIALPAD_IVR_PROXY_URL", "http://user:hunter2@[::1"),
        ("DIALPAD_IVR_HEALTH_PORT", "65536"),
        ("DIALPAD_IVR_LOG_FORMAT", "xml"),
    ],
)
def test_invalid_value_is_rejected_at_start(variable: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (line,) = str(caught.value).splitlines()
    assert line.partition(": ")[0] == variable
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DIALPAD_IVR_PATCH_LIMIT", "12.5", "must be a whole number"),
        ("DIALPAD_IVR_PATCH_LIMIT", "0", "must be at least 1"),
        ("DIALPAD_IVR_DEADLINE_SECONDS", "soon", "must be a number"),
        ("DIALPAD_IVR_DEADLINE_SECONDS", "0", "must be greater than 0"),
        ("DIALPAD_IVR_DEADLINE_SECONDS", "601", "must be at most 600"),
        ("DIALPAD_IVR_ALLOW_LOOPBACK", "perhaps", "must be true or false"),
        ("DIALPAD_IVR_LOG_FORMAT", "xml", "must be 'auto', 'human' or 'json'"),
    ],
)
def test_invalid_value_is_told_what_it_must_be(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == f"{variable}: {message}"


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("DIALPAD_IVR_PATCH_LIMT", "DIALPAD_IVR_PATCH_LIMIT"),
        ("dialpad_ivr_concurency", "DIALPAD_IVR_CONCURRENCY"),
        ("DIALPAD_IVR_AUTH_SECRETS", "CONDUCTOR_AUTH_SECRET"),
        ("DIALPAD_IVR_CACHE_FOLDER", "DIALPAD_IVR_CACHE_DIR"),
        ("DIALPAD_IVR_MAVEN_URI", "DIALPAD_IVR_MAVEN_URL"),
        ("DIALPAD_IVR_NONSENSE", None),
    ],
)
def test_unknown_variable_is_refused_with_a_suggestion(
    mistyped: str, meant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(mistyped, "hunter2")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{mistyped}: ")
    assert ("did you mean" in line) == (meant is not None)
    assert (meant or "settings.md") in line
    assert "hunter2" not in line


def test_unknown_variables_and_invalid_values_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DIALPAD_IVR_PATCH_LIMT", "DIALPAD_IVR_CONCURRENCY", "DIALPAD_IVR_FOO", "CONDUCTOR_SERVER_URL"):
        monkeypatch.setenv(name, "nonsense")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert {line.partition(":")[0] for line in str(caught.value).splitlines()} == {
        "DIALPAD_IVR_PATCH_LIMT",
        "DIALPAD_IVR_CONCURRENCY",
        "DIALPAD_IVR_FOO",
        "CONDUCTOR_SERVER_URL",
    }


def test_every_variable_of_ours_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OTHER_VARIABLES:
        monkeypatch.setenv(name, "/anywhere")
    monkeypatch.setenv("DIALPAD_IVR_PATCH_LIMIT", "5")
    monkeypatch.setenv("DIALPAD_IVR_SERVER_URL", "http://conductor:8080")
    settings = load_settings()
    assert (settings.patch_limit, settings.server_url) == (5, "http://conductor:8080/api")


def test_proxy_is_off_unless_its_own_setting_names_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://proxy.example.com:3128")
    assert load_settings().proxy_url is None


@pytest.mark.parametrize(
    ("url", "shown", "login"),
    [
        ("http://proxy.example.com", "proxy.example.com:80", None),
        ("https://proxy.example.com/", "proxy.example.com:443", None),
        ("http://[::1]:3128", "[::1]:3128", None),
        ("http://ivr:hunter2%40%2F%3A@proxy:3128", "proxy:3128", "ivr:hunter2@/:"),
        ("http://ivr@proxy:3128", "proxy:3128", "ivr:"),
        ("https://ivr:hunter2\u00e4@proxy:3128", "proxy:3128", "ivr:hunter2\u00e4"),
    ],
)
def test_proxy_is_shown_by_host_and_port_only(
    url: str, shown: str, login: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIALPAD_IVR_PROXY_URL", url)
    settings = load_settings()
    assert settings.proxy_url is not None
    proxy = check_proxy(settings.proxy_url, settings.api_url)
    assert str(proxy) == shown
    sent = proxy.authorization and base64.b64decode(proxy.authorization.get_secret_value().split()[1]).decode()
    assert sent == login
    assert "hunter2" not in repr((settings, proxy))


def test_proxy_for_a_double_that_it_could_listen_to_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_IVR_PROXY_URL", "http://user:hunter2@proxy:3128")
    monkeypatch.setenv("DIALPAD_IVR_ALLOW_LOOPBACK", "true")
    monkeypatch.setenv("DIALPAD_IVR_API_URL", "https://127.0.0.1:8090")
    assert load_settings().proxy_url is not None
    monkeypatch.setenv("DIALPAD_IVR_API_URL", "http://127.0.0.1:8090")
    with pytest.raises(SettingsError, match=r"^DIALPAD_IVR_PROXY_URL: .* the proxy could read the key") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def test_error_of_settings_made_in_python_does_not_repeat_a_password() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings.model_validate({"proxy_url": "socks5://user:hunter2@proxy", "redis_url": "http://:hunter2@redis"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


def test_auth_secret_is_not_in_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_AUTH_KEY", "id")
    monkeypatch.setenv("CONDUCTOR_AUTH_SECRET", "SECRET")
    assert "SECRET" not in repr(load_settings())
