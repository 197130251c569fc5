"""What an operator declares for the month: price books that change in the middle of it, rates, channels."""

# `{halfway}` and so on are times of the month. The price of what `half` says is missing at first.
TEXT = """\
channels:
  - name: east
    provider: openai-compatible
    base_url: https://east.example/v1
    cost_multiply: "0.8"
    models:
      - {{name: chat, cost: {{input: "1.1", output: "4.4", cache_read: "0.11"}}}}
      - {{name: picture, cost: {{image: "0.011", image_output: "0"}}}}
      - mini
      - half
      - searched
      - unknown
  - name: west
    provider: openai
    credentials: [{{env: NOBODYS_KEY}}]
    cost_multiply: "0.612345"
    models: [chat, mini, half, searched, unknown, {{name: picture, cost: {{input: "2", image_output: "20"}}}}]
  - name: plain
    provider: deepseek
    credentials: [{{env: NOBODYS_KEY}}]
    models: [chat, mini, half, searched, unknown, picture]
exchange_rates:
  - {{base: USD, quote: CNY, rate: "7.25", effective: 2020-01-01T00:00:00Z}}
  - {{base: USD, quote: CNY, rate: "7.123456789012", effective: {early}}}
  - {{base: USD, quote: CNY, rate: "6.9", effective: {late}}}
  - {{base: CNY, quote: USD, rate: "0.14", effective: 2020-01-01T00:00:00Z}}
price_books:
  - name: public
    effective: 2020-01-01T00:00:00Z
    currency: USD
    models:
      chat: {{input: "1.25", output: "10.50", cache_read: "0.125", cache_write_1h: "2.5"}}
      mini: {{input: "0.333333333333", output: "0.7"}}
      half: {{input: "3"{missing}}}
      picture: {{image: "0.02", "image:1024x1024": "0.04", "image:1024x1024:high": "0.083", input: "5"}}
      searched: {{input: "0.5", output: "1.5", search: "0.01", tool_call: "0.002", request: "0.0007"}}
    groups:
      vip: {{multiply: "0.9"}}
      partner:
        multiply: "1.1"
        models:
          mini: {{input: "0.2", output: "0.4"}}
    tiers:
      chat:
        - {{context_over: 20000, prices: {{input: "2.5"}}, multiply: "1.5"}}
        - {{service: flex, multiply: "0.5"}}
        - {{hours: "16:30-00:30", multiply: "0.75"}}
  - name: public
    effective: {halfway}
    currency: USD
    models:
      chat: {{input: "1.5", output: "9", cache_read: "0.15", reasoning: "12"}}
      mini: {{input: "0.25", output: "0.61"}}
      half: {{input: "2"{missing}}}
      picture: {{image: "0.03", input: "5", image_output: "32"}}
      searched: {{input: "0.5", output: "1.5", search: "0.02", "tool_call:web": "0.003", tool_call: "0.001"}}
    groups:
      vip: {{multiply: "0.85"}}
    tiers:
      chat:
        - {{service: priority, multiply: "2"}}
        - {{hours: "02:00-06:00", context_over: 5000, prices: {{output: "7"}}}}
        - {{hours: "02:00-06:00", multiply: "0.5"}}
      mini:
        - {{service: flex, prices: {{output: "0.3"}}}}
"""


def text(times, *, complete):
    """Returns the file; `complete` once the missing price is there."""
    return TEXT.format(**times, missing=', output: "7"' if complete else "")
