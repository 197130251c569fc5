"""Price books of other gateways, read into ours."""

from tollgate_resources.imports.litellm import read_litellm
from tollgate_resources.imports.newapi import read_newapi
from tollgate_resources.imports.reading import Imported, Remark, Unreadable

__all__ = ["Imported", "Remark", "Unreadable", "read_litellm", "read_newapi"]
