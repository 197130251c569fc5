"""Signatures of version 4 against published vectors and against what Amazon's own client signs."""

import pytest

from tollgate_router.domain.sigv4 import InvalidKeys, KeyPair, SigV4, parse_keys

pytestmark = pytest.mark.unit
# The key of the published vectors, which opens nothing.
KEYS = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
AT_US = 1_795_955_696_000_000


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_published_vectors(method, signature):
    moment = "20150830T123600Z"
    headers = [("host", "example.amazonaws.com"), ("x-amz-date", moment)]
    found = SigV4(KeyPair(*KEYS), "us-east-1", "service").authorization(method, "/", "", headers, EMPTY, moment)
    assert found == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={signature}"
    )


PROFILE = "arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3Ainference-profile%2Feu.amazon.nova-pro-v1%3A0"
# Made by botocore 1.44.8: region, host, path, body, session token, signature.
SIGNED = [
    (
        "us-east-1",
        "bedrock-runtime.us-east-1.amazonaws.com",
        "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse",
        b'{"messages":[]}',
        "",
        "fbc08979f429f143ae236fee51fe1f56001c18c31a4f05761ef68da6faefc3ed",
    ),
    (
        "eu-central-1",
        "bedrock-runtime.eu-central-1.amazonaws.com",
        f"/model/{PROFILE}/converse-stream",
        '{"messages":[{"text":"Grüße"}]}'.encode(),
        "FwoGZXIvYXdzEXAMPLE//////////wEaDH+/==",
        "51a8b2d4deb518697ff8f1ad3f2b632781d701b9f7fe0df1e211849933c3a40e",
    ),
    (
        "us-west-2",
        "127.0.0.1:8090",
        "/bedrock/model/openai.gpt-oss-120b-1%3A0/converse",
        b"",
        "",
        "5a15ff72793168421c4df94382c4d911c6caf332e26c9b77b66542ce2c8b0ef2",
    ),
]


@pytest.mark.parametrize(("region", "host", "path", "body", "token", "signature"), SIGNED)
def test_a_request_is_signed_as_the_vendors_client_does(region, host, path, body, token, signature):
    signer = SigV4(KeyPair(*KEYS, token), region, "bedrock")
    for one in (body, (body[:5], memoryview(body[5:]))):
        lines = signer.proof(b"POST", host, path.encode(), one, AT_US).decode()
        assert lines.endswith(f"Signature={signature}\r\n")
        assert lines.startswith("x-amz-date: 20261129T123456Z\r\n")
        assert (f"x-amz-security-token: {token}\r\n" in lines) == bool(token)


def test_the_key_of_a_day_is_that_of_its_day():
    signer = SigV4(KeyPair(*KEYS), "us-east-1", "bedrock")
    sign = lambda now_us: signer.proof(b"POST", "h", b"/", b"", now_us)  # noqa: E731 - three times the same.
    today = sign(AT_US)
    assert sign(AT_US + 86_400_000_000) != today
    assert sign(AT_US) == today


@pytest.mark.parametrize("text", ["", "AKIDEXAMPLE", "AKIDEXAMPLE:", ":secret", "a:b:c:d", "AKID EXAMPLE:s3cr3t"])
def test_what_is_no_key_pair_is_refused_without_being_shown(text):
    with pytest.raises(InvalidKeys) as caught:
        parse_keys(text)
    assert "s3cr3t" not in str(caught.value)
    assert "AKID" not in str(caught.value)


def test_a_pair_may_have_a_session_token():
    found = parse_keys("ASIAEXAMPLE:secret/+:token/+==")
    assert (found.key_id, found.secret, found.session_token) == ("ASIAEXAMPLE", "secret/+", "token/+==")
