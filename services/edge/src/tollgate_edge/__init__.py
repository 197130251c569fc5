"""Public HTTP, identity, configuration store and admission."""
