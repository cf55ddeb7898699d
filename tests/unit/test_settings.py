"""Settings: from the environment, checked, and a key goes to Dialpad's hosts only."""

from __future__ import annotations

import pytest

from dialpad_ivr.settings import Settings, SettingsError, check_api_url, load_settings


def test_the_defaults_are_the_documented_limits() -> None:
    settings = Settings()
    assert (settings.patch_limit, settings.patch_window_seconds) == (1200, 60)
    assert (settings.company_limit, settings.company_window_seconds) == (20, 1)
    assert settings.api_url == "https://dialpad.com"
    assert settings.grace_seconds == 25


@pytest.mark.parametrize(
    "given",
    ["http://conductor:8080", "http://conductor:8080/", "http://conductor:8080/api/", "http://conductor:8080/api"],
)
def test_the_engines_url_is_brought_into_the_form_that_the_sdk_wants(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONDUCTOR_SERVER_URL", given)
    assert load_settings().server_url == "http://conductor:8080/api"


@pytest.mark.parametrize("host", ["https://dialpad.com", "https://sandbox.dialpad.com"])
def test_dialpads_two_hosts_are_allowed(host: str) -> None:
    assert check_api_url(host, allow_loopback=False) == host


@pytest.mark.parametrize("host", ["http://127.0.0.1:8100", "http://127.1.2.3", "http://[::1]:80", "https://127.0.0.1"])
def test_a_loopback_address_is_allowed_when_a_setting_says_so(host: str) -> None:
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
def test_a_key_is_sent_to_no_other_host(host: str) -> None:
    with pytest.raises(ValueError, match="key is sent to no other host"):
        check_api_url(host, allow_loopback=True)


def test_faults_are_listed_without_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIALPAD_IVR_API_URL", "https://user:SECRET@evil.example")
    monkeypatch.setenv("DIALPAD_IVR_CONCURRENCY", "SECRET")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "SECRET" not in str(caught.value)
    assert "concurrency" in str(caught.value)


def test_the_engines_secret_is_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONDUCTOR_AUTH_KEY", "id")
    monkeypatch.setenv("CONDUCTOR_AUTH_SECRET", "SECRET")
    assert "SECRET" not in repr(load_settings())
