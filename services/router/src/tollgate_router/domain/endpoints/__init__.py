"""What is asked of providers beside chats and embeddings: each operation's path, and how its reply says what it used.

All of it is OpenAI's wire, and passes as it is but for the model's name; except for rerank, which is Cohere's and
Jina's, and for embeddings, which Gemini and clouds have on wires of their own.
"""
