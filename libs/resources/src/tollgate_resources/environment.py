"""Channels from what the environment holds: keys of known providers, or else the bundled simulator."""

from collections.abc import Mapping
from typing import Final

from tollgate_resources.catalogue import SIMULATOR, Catalogue
from tollgate_resources.models import ALL_MODELS, Channel, ChannelModel, Credential, Declared

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
        channels.append(
            Channel(name=SIMULATOR, provider=SIMULATOR, base_url=simulator_url, models=everything, private_network=True)
        )
    return Declared(channels=tuple(channels))
