"""What edge reads of a version about searches that models make on their own."""

import pytest
from services.edge.tests.fakes.stores import FakeVersionStore, Memory

from tollgate_edge.use_cases.follow_version import VersionHolder
from tollgate_resources import Channel, Credential, Declared, Route, compile_version, digest, load_catalogue

pytestmark = pytest.mark.unit

KEYS = (Credential(env="A_KEY"),)
NAMED = [
    "sonar",
    "sonar-deep-research",
    {"name": "found-out", "upstream": "sonar-deep-research"},
]


async def test_models_that_search_on_their_own_are_known_by_their_names_at_the_provider():
    channels = (
        Channel(name="a", provider="perplexity", credentials=KEYS, models=NAMED),
        Channel(name="b", provider="openai", credentials=KEYS, models=["gpt-5-search-api", "gpt-5"], groups=("other",)),
        Channel(name="c", provider="openai", credentials=KEYS, models=["sonar"]),
    )
    level = {"targets": [{"channel": "c", "upstream": "gpt-4o-search-preview"}]}
    routes = (Route(model="routed", levels=[level]),)
    document = compile_version(Declared(channels=channels, routes=routes), load_catalogue())
    store = FakeVersionStore(Memory())
    await store.publish({}, digest(document), document, 0)
    holder = VersionHolder(store)
    await holder.refresh()
    version = holder.current()
    searches = {model.name: model.searches for model in version.models_of("default")}
    assert searches == {"sonar": 1, "sonar-deep-research": 100, "found-out": 100, "routed": 1}
    assert {model.name: model.searches for model in version.models_of("other")} == {"gpt-5-search-api": 1, "gpt-5": 0}
