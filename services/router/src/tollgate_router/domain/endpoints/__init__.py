"""What is asked of providers beside chats and embeddings: each operation's path, and how its reply says what it used.

All of it is OpenAI's wire, but for rerank, which is Cohere's and Jina's: bodies and replies pass as they are, but for
the model's name.
"""
