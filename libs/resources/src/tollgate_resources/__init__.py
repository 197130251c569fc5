"""Declared resources: shapes, validation with file and line, model catalogue and provider data."""

from tollgate_resources.catalogue import (
    SIMULATOR,
    Auth,
    Catalogue,
    CatalogueModel,
    Provider,
    build_catalogue,
    load_catalogue,
)
from tollgate_resources.document import (
    REGION_HEADER,
    InvalidDocument,
    UnknownName,
    VersionChannel,
    VersionDocument,
    compile_version,
    digest,
    parse_version,
)
from tollgate_resources.environment import environment_channels
from tollgate_resources.loading import Loaded, load, merge
from tollgate_resources.models import (
    Canary,
    Channel,
    ChannelModel,
    Credential,
    Declared,
    Fallbacks,
    Level,
    Limits,
    PriceBook,
    PriceGroup,
    Probe,
    Resource,
    Route,
    Target,
)
from tollgate_resources.problems import Problem
from tollgate_resources.schema import json_schema

__all__ = [
    "REGION_HEADER",
    "SIMULATOR",
    "Auth",
    "Canary",
    "Catalogue",
    "CatalogueModel",
    "Channel",
    "ChannelModel",
    "Credential",
    "Declared",
    "Fallbacks",
    "InvalidDocument",
    "Level",
    "Limits",
    "Loaded",
    "PriceBook",
    "PriceGroup",
    "Probe",
    "Problem",
    "Provider",
    "Resource",
    "Route",
    "Target",
    "UnknownName",
    "VersionChannel",
    "VersionDocument",
    "build_catalogue",
    "compile_version",
    "digest",
    "environment_channels",
    "json_schema",
    "load",
    "load_catalogue",
    "merge",
    "parse_version",
]
