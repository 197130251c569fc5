"""Which dialect a path is spoken in."""

import pytest

from tollgate.exchange.v1 import exchange_pb2 as wire
from tollgate_edge.faces import GEMINI, GEMINI_ARRAY, gemini_call

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("model", ["gemini-3.5-flash", "qwen3:8b", "deepseek/deepseek-r1:free", "a:generateContent"])
@pytest.mark.parametrize("base", ["/v1beta", "/v1", ""])
def test_the_name_of_a_model_ends_before_the_last_colon(base, model):
    found = gemini_call(f"{base}/models/{model}:generateContent".encode(), b"")
    assert found == (wire.OPERATION_CHAT, GEMINI, (model, False))
    found = gemini_call(f"{base}/models/{model}:streamGenerateContent".encode(), b"")
    assert found == (wire.OPERATION_CHAT, GEMINI_ARRAY, (model, True))
    found = gemini_call(f"{base}/models/{model.replace(':', '%3A')}:embedContent".encode(), b"")
    assert found == (wire.OPERATION_EMBEDDINGS, GEMINI, (model, False))


@pytest.mark.parametrize(
    "path", [b"/v1beta/models/:generateContent", b"/v1beta/models/a:countTokens", b"/v1/models/a:b"]
)
def test_other_paths(path):
    assert gemini_call(path, b"") is None
