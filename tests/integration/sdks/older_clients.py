"""The clients of the lock in `older_sdks`: the major of openai before the last one is asked what the last one is."""

from asking import main
from openai_clients import Chat, Responses

if __name__ == "__main__":
    main({"openai-1": ("chat", Chat), "openai-1-responses": ("responses", Responses)})
