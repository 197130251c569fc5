"""Logging set-up: one line per record, for people or as JSON. Called once per process."""

import json
import logging
import sys
from typing import ClassVar


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts, level, logger, service, message and the fields given as `extra={"fields": {…}}`."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "ts": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "service": self._service,
            "message": record.getMessage(),
        }
        entry.update(getattr(record, "fields", {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """`12:00:01.123 edge    info  message key=value`."""

    LEVELS: ClassVar[dict[str, str]] = {"WARNING": "warn", "CRITICAL": "fatal"}

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        level = self.LEVELS.get(record.levelname, record.levelname.lower())
        clock = f"{self.formatTime(record, '%H:%M:%S')}.{int(record.msecs):03d}"
        fields = "".join(f" {key}={value}" for key, value in getattr(record, "fields", {}).items())
        line = f"{clock} {self._service:<10} {level:<5} {record.getMessage()}{fields}"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


def configure_logging(service: str, level: str, style: str) -> None:
    """Sends every logger's records to standard error, in `style` `text` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(service) if style == "json" else TextFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn", "uvicorn.error", "aiokafka", "alembic", "grpc", "httpx", "httpcore", "kafka"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
