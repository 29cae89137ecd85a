"""The settings: read once, each from its variable or its flag, wrong ones named, secrets never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import fields

from registry.errors import BadSetting
from registry.infra.settings import SETTINGS, Settings, variable


def test_without_any_the_data_stands_where_a_users_data_belongs() -> None:
    settings = Settings.read({"XDG_DATA_HOME": "/data/of/a/user"})
    assert settings == Settings(
        data_dir=Path("/data/of/a/user/investment-registry"),
        signing_key=Path("/data/of/a/user/investment-registry/signing.key"),
    )
    assert Settings.read({}).data_dir == Path.home() / ".local/share/investment-registry"


def test_each_is_read_from_its_variable() -> None:
    settings = Settings.read(
        {
            "REGISTRY_DATABASE_URL": "postgresql://app@db/registry",
            "REGISTRY_OWNER_URL": "postgres://owner@db/registry",
            "REGISTRY_REPLICA_URLS": "postgresql://app@one/registry  postgresql://app@two,three/registry",
            "REGISTRY_DATA_DIR": "~/data",
            "REGISTRY_HOST": "0.0.0.0",
            "REGISTRY_PORT": "0",
            "REGISTRY_PUBLIC_READ": "False",
            "REGISTRY_ADMIN_KEY": "k" * 32,
            "REGISTRY_LOG_ORIGIN": "registry.example/log",
            "REGISTRY_SIGNING_KEY": "keys/log",
        }
    )
    assert settings == Settings(
        database_url="postgresql://app@db/registry",
        owner_url="postgres://owner@db/registry",
        replica_urls=("postgresql://app@one/registry", "postgresql://app@two,three/registry"),
        data_dir=Path.home() / "data",
        host="0.0.0.0",
        port=0,
        public_read=False,
        admin_key="k" * 32,
        log_origin="registry.example/log",
        signing_key=Path.cwd() / "keys/log",
    )


def test_a_flag_wins_over_the_environment_and_an_empty_variable_is_none() -> None:
    settings = Settings.read({"REGISTRY_PORT": "8001", "REGISTRY_HOST": " "}, port="8002", host=None)
    assert (settings.port, settings.host) == (8002, "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("port", "65536", "65535"),
        ("port", "-1", "no port"),
        ("port", "８０", "no port"),
        ("public_read", "maybe", "neither true nor false"),
        ("database_url", "mysql://db/registry", "no Postgres URL"),
        ("owner_url", "registry", "no Postgres URL"),
        ("replica_urls", "postgresql://db/registry http://db", "no Postgres URL"),
        ("admin_key", "short", "32 characters"),
        ("admin_key", "ü" * 32, "ASCII"),
        ("log_origin", "my registry", "no spaces"),
        ("log_origin", "a+b", "no spaces"),
    ],
)
def test_a_wrong_one_is_named_with_what_to_do(name: str, text: str, told: str) -> None:
    with pytest.raises(BadSetting, match=told) as error:
        Settings.read({variable(name): text})
    assert variable(name) in str(error.value)


def test_no_secret_is_ever_shown() -> None:
    secret = "s3cret-" + "x" * 32
    settings = Settings.read(
        {},
        admin_key=secret,
        database_url=f"postgresql://app:{secret}@db/registry",
        owner_url=f"postgresql://db/registry?user=owner&password={secret}",
        replica_urls=f"postgresql://app:{secret}@one/registry",
    )
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in str(settings)
    with pytest.raises(BadSetting) as error:
        Settings.read({}, database_url=f"mysql://app:{secret}@db/registry")
    assert "s3cret" not in str(error.value)


def test_every_setting_has_a_reader_and_a_meaning() -> None:
    assert {field.name for field in fields(Settings)} == SETTINGS.keys()
    assert all(setting.help for setting in SETTINGS.values())
