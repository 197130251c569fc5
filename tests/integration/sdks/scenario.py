"""What every client is asked."""

from pydantic import BaseModel

HELLO = "Say hello"
TOOL_WORDS = "Use weather"
BROKEN = "[[sim:mid-error=3]] Say hello"
LOOK = "What is it?"
ASK_JSON = "Where?"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class City(BaseModel):
    """Where it is."""

    city: str
    people: int


def weather(city: str) -> str:
    """How the weather is."""
    return f"sunny in {city}"
