"""Where the store is: the URLs that are understood, and the sentences for those that are not."""

from pathlib import Path

import pytest

from memory_core.errors import InvalidConfiguration
from memory_core.store.settings import StoreAddress, StoreSettings

FORMS = "redis://HOST:PORT/DB, rediss://HOST:PORT/DB (TLS) or unix:///PATH"


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("redis://store", StoreAddress("store", 6379), "store:6379"),
        ("redis://store:7000/3", StoreAddress("store", 7000, database=3), "store:7000"),
        ("redis://store?db=3", StoreAddress("store", 6379, database=3), "store:6379"),
        ("redis://[::1]:7000", StoreAddress("::1", 7000), "::1:7000"),
        ("rediss://store.shop.svc", StoreAddress("store.shop.svc", 6379, tls=True), "store.shop.svc:6379"),
        ("unix:///run/store.sock", StoreAddress(path="/run/store.sock"), "/run/store.sock"),
        ("unix:///run/a%20b.sock?db=2", StoreAddress(path="/run/a b.sock", database=2), "/run/a b.sock"),
    ],
)
def test_urls_that_are_understood(url: str, address: StoreAddress, shown: str) -> None:
    """Each form, with the parts it stands for and as messages show it."""
    assert StoreSettings(url).address() == address
    assert str(address) == shown


@pytest.mark.parametrize(
    "url",
    [
        "",
        "store",
        "store:6379",
        "http://store",
        "redis://",
        "redis:///0",
        "unix://",
        "unix://run/store.sock",
        "unix:run",
    ],
)
def test_urls_that_are_not(url: str) -> None:
    """A refusal shows the URL and the forms."""
    with pytest.raises(InvalidConfiguration) as refused:
        StoreSettings(url).address()

    assert refused.value.detail == f"the store URL {url!r} is not understood: write {FORMS}"


@pytest.mark.parametrize(
    "url",
    ["redis://store:port", "redis://store:70000", "redis://store/first", "redis://[::1", f"redis://{'x' * 64}.example"],
)
def test_urls_that_are_malformed(url: str) -> None:
    """A refusal says what cannot be read, and the forms."""
    with pytest.raises(InvalidConfiguration, match=r"^the store URL cannot be read \(.*\): write redis://HOST"):
        StoreSettings(url).address()


def test_a_password_in_the_url_is_refused_without_showing_it() -> None:
    """URLs end up in logs and process lists; passwords belong into a file."""
    with pytest.raises(InvalidConfiguration, match="put it into a file") as refused:
        StoreSettings("redis://app:hunter2@store").address()

    assert "hunter2" not in refused.value.detail


def test_a_user_in_the_url_is_refused() -> None:
    """It would be ignored otherwise: there is a setting for it."""
    with pytest.raises(InvalidConfiguration, match="set it as the user name instead"):
        StoreSettings("redis://app@store").address()


def test_the_password_is_read_anew_each_time(tmp_path: Path) -> None:
    """White space around it is not part of it: editors and Secrets end files with a line feed."""
    file = tmp_path / "password"
    settings = StoreSettings(password_file=file)
    found = []
    for secret in ("first\n", "second"):
        file.write_text(secret)
        found.append(settings.password())

    assert found == ["first", "second"]
    assert StoreSettings().password() is None


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not text"])
def test_a_password_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None) -> None:
    """The sentence names the file's purpose, and the reason."""
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(InvalidConfiguration, match="the store's password file cannot be read: "):
        StoreSettings(password_file=file).password()
