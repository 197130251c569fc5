"""`tollgate prices import`."""

import sys
from pathlib import Path

from tollgate_cli.errors import USAGE, Failure, unreadable
from tollgate_cli.output import print_json

_READERS = ("litellm", "newapi")
_MAX_SHOWN = 50


def run_import(
    file: Path, form: str, name: str, effective: str, output: Path | None, *, skip_bad: bool, as_json: bool
) -> None:
    """Writes a price book. Raises Failure; nothing is written then."""
    from pydantic import ValidationError

    from tollgate_rating import InvalidPrice
    from tollgate_resources import PriceBook
    from tollgate_resources.imports import Unreadable, read_litellm, read_newapi

    if form not in _READERS:
        raise Failure(f"There is no format '{form}'.", code=USAGE, advice=f"Take one of: {', '.join(_READERS)}.")
    try:
        found = (read_litellm if form == "litellm" else read_newapi)(file.read_bytes())
    except OSError as error:
        raise unreadable(file, error) from None
    except Unreadable as error:
        raise Failure(f"{file}: {error}.") from None
    errors = found.errors
    if errors and not skip_bad:
        lines = [f"{file}, {one}" for one in errors[:_MAX_SHOWN]]
        more = [f"and {len(errors) - _MAX_SHOWN} more"] if len(errors) > _MAX_SHOWN else []
        raise Failure(
            "\n".join([f"Nothing was written: {len(errors)} entries cannot be imported.", *lines, *more]),
            advice="Mend them, or leave them out with --skip-bad.",
            details=[{"line": one.line, "entry": one.entry, "message": one.text} for one in errors],
        )
    if not found.models:
        raise Failure(f"{file} has no model that can be imported.")
    plain = found.book(name, effective)
    try:
        book = PriceBook.model_validate(plain)
        book.rated()
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        raise Failure(
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}.", advice="Look at --name and --effective."
        ) from None
    except InvalidPrice as error:
        raise Failure(f"{file}: {error}.") from None
    for one in found.remarks:
        sys.stderr.write(f"{file}, {one}\n")
    if as_json:
        print_json({"price_books": [plain]})
        return
    _write(plain, output)
    sys.stderr.write(f"{len(found.models)} models imported, {len(errors)} left out.\n")


def _write(plain: dict[str, object], output: Path | None) -> None:
    import yaml

    text = yaml.safe_dump({"price_books": [plain]}, sort_keys=False, default_flow_style=None, width=120)
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"{output}: {error.strerror}.") from None
