"""What edge reads of a version about tools that run at providers, asked for or not."""

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


async def version_of(channels, routes=()):
    document = compile_version(Declared(channels=channels, routes=routes), load_catalogue())
    store = FakeVersionStore(Memory())
    await store.publish({}, digest(document), document, 0)
    holder = VersionHolder(store)
    await holder.refresh()
    return holder.current()


async def test_models_that_search_on_their_own_are_known_by_their_names_at_the_provider():
    channels = (
        Channel(name="a", provider="perplexity", credentials=KEYS, models=NAMED),
        Channel(name="b", provider="openai", credentials=KEYS, models=["gpt-5-search-api", "gpt-5"], groups=("other",)),
        Channel(name="c", provider="openai", credentials=KEYS, models=["sonar"]),
    )
    level = {"targets": [{"channel": "c", "upstream": "gpt-4o-search-preview"}]}
    quiet = {"targets": [{"channel": "c", "upstream": "gpt-5"}]}
    canary = {"percent": 5.0, "targets": [{"channel": "a", "upstream": "sonar-deep-research"}]}
    routes = (Route(model="routed", levels=[level]), Route(model="tried", levels=[quiet], canary=canary))
    version = await version_of(channels, routes)
    searches = {model.name: model.searches for model in version.models_of("default")}
    assert searches == {"sonar": 1, "sonar-deep-research": 100, "found-out": 100, "routed": 1, "tried": 100}
    assert {model.name: model.searches for model in version.models_of("other")} == {"gpt-5-search-api": 1, "gpt-5": 0}


async def test_tools_run_where_a_channel_speaks_the_responses_api():
    channels = (
        Channel(name="a", provider="openai", credentials=KEYS, models=["gpt-5"]),
        Channel(name="b", provider="anthropic", credentials=KEYS, models=["claude-haiku-4-5"]),
        Channel(name="c", provider="openai", credentials=KEYS, models=["gpt-5-mini"], responses=False),
    )
    level = {"targets": [{"channel": "b"}, {"channel": "a", "upstream": "gpt-5"}]}
    version = await version_of(channels, (Route(model="claude-haiku-4-5", levels=[level]),))
    runs = {model.name: model.runs_tools for model in version.models_of("default")}
    assert runs == {"gpt-5": True, "claude-haiku-4-5": True, "gpt-5-mini": False}
