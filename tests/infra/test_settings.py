"""Settings: read from variables and flags; invalid ones are named; secrets are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import fields

from registry.errors import BadSetting
from registry.infra.settings import SETTINGS, Settings, flag, variable


def test_default_data_directory_follows_the_xdg_specification() -> None:
    settings = Settings.read({"XDG_DATA_HOME": "/data/of/a/user"})
    assert settings == Settings(
        data_dir=Path("/data/of/a/user/investment-registry"),
        signing_key=Path("/data/of/a/user/investment-registry/signing.key"),
    )
    assert Settings.read({}).data_dir == Path.home() / ".local/share/investment-registry"


def test_every_setting_is_read_from_its_variable() -> None:
    settings = Settings.read(
        {
            "REGISTRY_DATABASE_URL": "postgresql://app@db/registry",
            "REGISTRY_OWNER_URL": "postgres://owner@db/registry",
            "REGISTRY_REPLICA_URLS": "postgresql://app@one/registry  postgresql://app@two,three/registry",
            "REGISTRY_DATA_DIR": "~/data",
            "REGISTRY_HOST": "0.0.0.0",
            "REGISTRY_PORT": "0",
            "REGISTRY_PUBLIC_READ": "False",
            "REGISTRY_TIME_ZONE": "Asia/Seoul",
            "REGISTRY_ADMIN_KEY": "k" * 32,
            "REGISTRY_LOG_ORIGIN": "registry.example/log",
            "REGISTRY_SIGNING_KEY": "keys/log",
            "REGISTRY_SECRETS_KEY": "keys/secrets",
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
        time_zone="Asia/Seoul",
        admin_key="k" * 32,
        log_origin="registry.example/log",
        signing_key=Path.cwd() / "keys/log",
        secrets_key=Path.cwd() / "keys/secrets",
    )


def test_flag_overrides_environment_and_empty_variable_counts_as_unset() -> None:
    settings = Settings.read({"REGISTRY_PORT": "8001", "REGISTRY_HOST": " "}, port="8002", host=None)
    assert (settings.port, settings.host) == (8002, "127.0.0.1")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("time_zone", "Korea Standard Time"),
        ("time_zone", "Asia"),
        ("time_zone", "/etc/localtime"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "８０"),
        ("checkpoint_seconds", "soon"),
        ("public_read", "maybe"),
        ("database_url", "mysql://db/registry"),
        ("owner_url", "registry"),
        ("replica_urls", "postgresql://db/registry http://db"),
        ("webhook_networks", "10.0.0.0/33"),
        ("cors_origins", "https://pages.example/path"),
        ("allowed_hosts", "https://registry.example"),
        ("allowed_hosts", "registry.example:8000"),
        ("trusted_proxies", "proxy.example"),
        ("rate_limits", "key=fast"),
        ("data_licence", "CC-BY-4.0"),
        ("data_licence", "https://creativecommons.org/licenses/by/4.0/"),
        ("data_licence", "CC-BY-4.0 creativecommons.org"),
        ("oidc_issuer", "http://id.example"),
        ("oidc_issuer", "https://id.example/?realm=1"),
        ("oidc_rights", "editors"),
        ("oidc_rights", "editors=record editors=correct"),
        ("oidc_rights", "'editors=record"),
        ("admin_key", "short"),
        ("admin_key", "ü" * 32),
        ("log_origin", "my registry"),
        ("log_origin", "a+b"),
    ],
)
def test_invalid_setting_is_refused_with_its_variable_and_flag(name: str, text: str) -> None:
    with pytest.raises(BadSetting) as error:
        Settings.read({variable(name): text})
    assert variable(name) in str(error.value)
    assert flag(name) in str(error.value)


def test_representation_contains_no_secret() -> None:
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


def test_every_setting_has_a_reader_and_a_description() -> None:
    assert {field.name for field in fields(Settings)} == SETTINGS.keys()
    assert all(setting.help for setting in SETTINGS.values())


def test_settings_of_a_provider_belong_together() -> None:
    whole = {
        "REGISTRY_OIDC_ISSUER": "https://id.example/realms/agency",
        "REGISTRY_OIDC_CLIENT_ID": "registry",
        "REGISTRY_OIDC_CLIENT_SECRET": "secret of the client",
        "REGISTRY_OIDC_RIGHTS": 'editors=record,correct "press desk=propose"',
    }
    settings = Settings.read(whole)
    assert settings.oidc is not None
    assert settings.oidc.rights == {"editors": ("record", "correct"), "press desk": ("propose",)}
    assert settings.oidc.display_name == "id.example"
    assert "secret of the client" not in repr(settings)
    for missing in ("ISSUER", "CLIENT_ID", "RIGHTS"):
        with pytest.raises(BadSetting, match=missing):
            Settings.read({name: value for name, value in whole.items() if not name.endswith(missing)})
    with pytest.raises(BadSetting, match="AUDIENCE"):
        Settings.read({**whole, "REGISTRY_OIDC_AUDIENCE": "registry"})
