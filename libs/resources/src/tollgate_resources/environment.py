"""Channels from what the environment holds: keys of known providers, or else the bundled simulator."""

from collections.abc import Mapping
from typing import Final

from tollgate_resources.catalogue import SIMULATOR, Catalogue
from tollgate_resources.declared import Declared
from tollgate_resources.models import ALL_MODELS, Channel, ChannelModel, Credential

OWNER: Final = "environment"


def environment_channels(environment: Mapping[str, str], catalogue: Catalogue, simulator_url: str = "") -> Declared:
    """Returns one channel per provider whose key is set; without any, one to the simulator, if there is one.

    Values of `environment` are looked at for being empty, never kept.
    """
    everything = (ChannelModel(name=ALL_MODELS),)
    channels = [
        Channel(name=provider.name, provider=provider.name, credentials=(Credential(env=name),), models=everything)
        for provider in catalogue.providers.values()
        for name in [next((one for one in provider.environment if environment.get(one)), None)]
        if name is not None and provider.base_url is not None and catalogue.models_of(provider.name)
    ]
    if not channels and simulator_url and SIMULATOR in catalogue.providers:
        channels = _simulated(catalogue, simulator_url)
    return Declared(channels=tuple(channels))


def _simulated(catalogue: Catalogue, url: str) -> list[Channel]:
    """Returns a channel for each wire that the simulator speaks, and one of OpenAI's for all other models."""
    wires = {provider.simulates: provider.name for provider in catalogue.providers.values() if provider.simulates}
    channels = [
        Channel(
            name=name,
            provider=name,
            base_url=f"{url.removesuffix('/v1')}/{vendor}/v1",
            models=(ChannelModel(name=ALL_MODELS),),
            private_network=True,
        )
        for vendor, name in wires.items()
    ]
    taken = {model.name for name in wires.values() for model in catalogue.models_of(name)}
    others = tuple(ChannelModel(name=name) for name in catalogue.models if name not in taken)
    channels.append(Channel(name=SIMULATOR, provider=SIMULATOR, base_url=url, models=others, private_network=True))
    return channels
