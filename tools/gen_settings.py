"""Writes docs/reference/settings.md from the settings classes of the services. Run by `make settings`."""

import importlib
import json
import sys
from pathlib import Path, PurePath

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "settings.md"
SERVICES = {
    "edge": "tollgate_edge",
    "router": "tollgate_router",
    "billing": "tollgate_billing",
    "media-jobs": "tollgate_media_jobs",
}
HEAD = """# Process settings

Each service reads its settings from the environment once, when it starts.
A value that does not validate stops the process with exit code 2 and a line that names the variable.
There `***` stands for what may hold a password; an empty variable counts as one that is not set.
`tollgate up` and the Helm chart set what has no default.
This page is written by `make settings` from the code.
"""


def settings_class(package: str) -> type[BaseSettings]:
    """Returns the settings class that a service defines. Raises LookupError when there is not exactly one."""
    module = importlib.import_module(f"{package}.settings")
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BaseSettings) and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        msg = f"{package}.settings defines {len(own)} settings classes"
        raise LookupError(msg)
    return own[0]


def render() -> str:
    """Returns the page."""
    parts = [HEAD]
    for service, package in SERVICES.items():
        cls = settings_class(package)
        prefix = str(cls.model_config.get("env_prefix", ""))
        parts.append(f"\n## {service}\n\n| variable | default | meaning |\n|---|---|---|\n")
        for name, field in sorted(cls.model_fields.items(), key=lambda item: not item[1].is_required()):
            meaning = (field.description or "").replace("|", "\\|").replace("\n", " ")
            parts.append(f"| `{prefix}{name.upper()}` | {_default(field)} | {meaning} |\n")
    return "".join(parts)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=not field.default_factory_takes_validated_data)
    if value in ("", None, ()) or (isinstance(value, SecretStr) and not value):
        return "none"
    if isinstance(value, PurePath):
        return f"`{value}`"
    return f"`{json.dumps(value, default=str)}`" if not isinstance(value, str) else f"`{value}`"


def main() -> int:
    """Writes the page; returns the exit code."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
