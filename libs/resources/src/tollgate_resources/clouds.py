"""What is particular about channels at clouds: which of `cloud` each asks for, and where its endpoints are."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from tollgate_resources.catalogue import Provider
from tollgate_resources.models import Channel, Cloud

_REGION: Final = "{region}"
_NEEDED: Final = {"": (), "azure": (), "bedrock": ("region",), "vertex": ("region", "project")}
_ALLOWED: Final = {"": (), "azure": ("api_version", "entra"), "bedrock": ("region",), "vertex": ("region", "project")}
_EXAMPLES: Final = {"region": "a region, such as us-east-1", "project": "the id of a project"}
# Places of Vertex that are no single region, by their own hosts.
_WIDE: Final = {
    "global": "https://aiplatform.googleapis.com",
    "us": "https://aiplatform.us.rep.googleapis.com",
    "eu": "https://aiplatform.eu.rep.googleapis.com",
}
# Versions of Azure's API that its v1 path has; all others name the deployment in the path.
_V1: Final = (None, "preview")
# They have no list of models that would answer the same credential at the same address.
_WITHOUT_LIST: Final = frozenset({"bedrock", "vertex"})


def address_of(channel: Channel, provider: Provider) -> str | None:
    """Returns the channel's address: its own, or the provider's for its region; None where there is neither."""
    if channel.base_url is not None or provider.base_url is None:
        return channel.base_url
    region = channel.cloud.region if channel.cloud is not None else None
    if _REGION not in provider.base_url:
        return provider.base_url
    if region is None:
        return None
    wide = _WIDE.get(region) if provider.platform == "vertex" else None
    return wide or provider.base_url.replace(_REGION, region)


def cloud_problems(channel: Channel, provider: Provider) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yields where in the channel something is wrong, what was found there, and what is allowed."""
    said = channel.cloud or Cloud()
    for name in Cloud.model_fields:
        value = getattr(said, name)
        if value is None and name in _NEEDED[provider.platform]:
            yield ("cloud", name), "nothing", f"{_EXAMPLES[name]}; provider {provider.name} asks for one"
        if value is not None and name not in _ALLOWED[provider.platform]:
            allowed = ", ".join(_ALLOWED[provider.platform]) or "no `cloud` at all"
            yield ("cloud", name), name, f"for provider {provider.name}: {allowed}"
    if said.entra is not None and said.entra.authority.startswith("http://") and not channel.private_network:
        yield ("cloud", "entra", "authority"), said.entra.authority, "an https:// address, or `private_network: true`"
    if channel.responses and not provider.may_speak_responses:
        yield ("responses",), "true", f"false; provider {provider.name} does not chat on OpenAI's wire"
    elif channel.responses and said.api_version not in _V1:
        yield ("responses",), "true", "no `cloud.api_version`, or preview; Azure has the Responses API on its v1 path"
    if provider.platform in _WITHOUT_LIST and channel.probe is not None and channel.probe.model is None:
        yield ("probe",), "a probe without a model", f"a model to ask; provider {provider.name} lists none"


def speaks_responses(channel: Channel, provider: Provider) -> bool:
    """Tells whether a channel is asked in the Responses API by those who speak it.

    A server that stands in for the provider's own need not have it, so its channel says so. Azure has it on the v1
    path alone.
    """
    said = channel.responses
    if said is None:
        said = provider.responses and (channel.base_url is None or provider.base_url is None)
    version = channel.cloud.api_version if channel.cloud is not None else None
    return said and version in _V1


def azure_place(cloud: Cloud, deployment: str) -> tuple[str, str]:
    """Returns what stands between an Azure resource's address and an operation's path, and the query behind that.

    `deployment` is empty for what concerns none, such as the list of models.
    """
    version = cloud.api_version
    query = f"?api-version={version}" if version is not None else ""
    if version in _V1:
        return "/openai/v1", query
    return f"/openai/deployments/{quote(deployment, safe='')}" if deployment else "/openai", query
