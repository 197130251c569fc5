"""RSA signatures for service accounts."""

from tollgate_router.domain.service_account import Sign

_LEAST_BITS = 2048


def load_rsa_key(pem: str) -> Sign:
    """Returns what signs by a private key in PEM. Raises ValueError, whose message holds nothing of the key."""
    # Only who has a channel at Vertex pays for loading it.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("is no private key in PEM without a pass phrase") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < _LEAST_BITS:
        raise ValueError(f"is no RSA key of {_LEAST_BITS} bits or more")
    scheme, digest = padding.PKCS1v15(), hashes.SHA256()
    return lambda data: key.sign(data, scheme, digest)
