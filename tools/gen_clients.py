"""Writes docs/guides/clients.md and clients.zh.md from the data of `tollgate client`. Run by `make clients`."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tollgate_cli.clients import SetUp, Values, load_clients, set_up

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "en": ROOT / "docs" / "guides" / "clients.md",
    "zh": ROOT / "docs" / "guides" / "clients.zh.md",
}
VALUES = Values("HOST", "sk-tg-…", "gpt-5.1")
HEAD = {
    "en": """# Point a client at Tollgate

[中文](clients.zh.md)

Tollgate speaks the dialects of OpenAI, Anthropic and Gemini, [each for every chat model](../reference/dialects.md).
A client needs two values: a base URL and an API key (`sk-tg-…`).
The only question is whether the client wants `/v1` in the base URL, because clients differ in what they append.
Every route also answers without `/v1`, so that a wrong guess often works; the table is what works as intended.

`tollgate client CLIENT --url … --key …` prints all of this with your own values filled in: import links too, as a code
to scan with `--qr`, for scripts with `--json`.
A link and its code hold the key: hand them to nobody who may not have it.

Below, `HOST` stands for your gateway, for example `http://127.0.0.1:8080`, and `gpt-5.1` for any model of
`GET /v1/models`.

| client | base URL | what it calls |
|---|---|---|
""",
    "zh": """# 把客户端接到 Tollgate

[English](clients.md)

Tollgate 支持 OpenAI、Anthropic 与 Gemini 三种接口格式，[每种都能调用所有对话模型](../reference/dialects.md)。
客户端需要两个值：基础 URL 和 API 密钥（`sk-tg-…`）。
唯一的问题是基础 URL 要不要带 `/v1`，因为各客户端追加的内容不同。
所有接口不带 `/v1` 也能访问，所以填错往往也能用；下表是推荐的填法。

`tollgate client 客户端 --url … --key …` 会填好您的值并打印以下全部内容，包括导入链接。
`--qr` 输出二维码，`--json` 供脚本使用。
链接和二维码中含有密钥：不要交给无权使用该密钥的人。

下文中 `HOST` 是您的网关地址，例如 `http://127.0.0.1:8080`；`gpt-5.1` 可换成 `GET /v1/models` 中的任一模型。

| 客户端 | 基础 URL | 调用的路径 |
|---|---|---|
""",
}
TAIL = {
    "en": """
## Balance

Clients that show a balance ask one of these pages with their key: `/dashboard/billing/subscription` and
`/dashboard/billing/usage` (with and without `/v1`), `/api/usage/token`, `/api/user/self`, `/user/balance`.
What they show as left is the least of the organization's wallet and of what each budget leaves that the key is within;
used is what the key itself has used.
Pages in USD convert a wallet in another currency by [the exchange rate in force](configuration.md#exchange-rates), and
say `no_exchange_rate` where there is none.
`/api/pricing` has the prices of the key's models, `/api/status` says what a unit of quota is worth.

## Clients in a browser

Every route that takes a key answers browsers of all origins (CORS), errors included; the console API (`/api/v1`) does
not.

## When it fails

```sh
tollgate doctor client --url BASE_URL --key KEY --model MODEL
```

takes the three values exactly as they were typed into the client, and says which of base URL, path, key, model, stream,
balance, CORS or a proxy between is wrong, and how to mend it.
Every error body links to [its entry](../reference/errors.md), which says what to do.
Every answer carries `x-request-id`; quote it when you ask for help.
""",
    "zh": """
## 余额

会显示余额的客户端用其密钥访问这些页面之一：
`/dashboard/billing/subscription` 与 `/dashboard/billing/usage`（带或不带 `/v1`）、
`/api/usage/token`、`/api/user/self`、`/user/balance`。
显示的剩余额是组织钱包与该密钥所受各项预算的余量中最小的一个；已用额是该密钥自身的用量。
以 USD 显示的页面按[生效的汇率](configuration.md#exchange-rates)换算其他货币的钱包；没有汇率时返回 `no_exchange_rate`。
`/api/pricing` 列出该密钥可用模型的价格，`/api/status` 说明一个额度单位的价值。

## 浏览器中的客户端

凡是使用密钥的接口都允许任意来源的浏览器访问（CORS），错误回复也不例外；控制台接口（`/api/v1`）除外。

## 出错时

```sh
tollgate doctor client --url 基础URL --key 密钥 --model 模型
```

按客户端中填写的原样给出这三个值。
它会指出基础 URL、路径、密钥、模型、流式、余额、CORS 或中间代理哪一处有误，以及如何修正。
每个错误回复都链接到[对应的条目](../reference/errors.zh.md)，说明处理办法。
每个回复都带有 `x-request-id`，求助时请附上。
""",
}
WORDS = {
    "en": {
        "field": "field", "value": "value", "env": "Variables", "link": "Import link", "json": "JSON, percent-encoded",
        "base64": "JSON in standard base64, percent-encoded", "with": "with `{payload}`", "code": "as a code to scan",
    },
    "zh": {
        "field": "字段", "value": "值", "env": "环境变量", "link": "导入链接", "json": "百分号编码的 JSON",
        "base64": "标准 base64 再百分号编码的 JSON", "with": "其中 `{payload}`", "code": "可扫描的二维码",
    },
}  # fmt: skip


def render(lang: str) -> str:
    """Returns the page in `en` or `zh`."""
    clients = load_clients().values()
    parts = [HEAD[lang]]
    parts.extend(
        f"| [{client['name']}](#{client['id']}) | `{set_up(client, VALUES).base_url}` | {client['calls']} |\n"
        for client in clients
    )
    parts.extend(_section(client, lang) for client in clients)
    return "".join(parts) + TAIL[lang]


def _section(client: Mapping[str, Any], lang: str) -> str:
    made, words = set_up(client, VALUES), WORDS[lang]
    parts = [f'\n<a id="{client["id"]}"></a>\n\n## {client["name"]}\n\n{client["rule"][lang]}\n\n']
    parts.extend(f"{number}. {step}\n" for number, step in enumerate(client["steps"][lang], 1))
    parts.append(_values(made, lang))
    parts.extend(
        f"\n`{file['path']}`:\n\n```{file['format']}\n{file['content'].rstrip()}\n```\n" for file in made.files
    )
    for link in client.get("links", ()):
        payload = ""
        if "payload" in link:
            text = json.dumps(link["payload"], ensure_ascii=False)
            payload = f", {words['with']} = {words[link['encode']]}: `{text}`"
        scan = f"; `--qr`: {words['code']}" if link.get("phone") else ""
        parts.append(f"\n{words['link']}: `{link['template']}`{payload}{scan}\n")
    parts.extend(f"\n{note[lang]}\n" for note in client.get("notes", ()))
    return "".join(parts)


def _values(made: SetUp, lang: str) -> str:
    words, found = WORDS[lang], ""
    if made.fields:
        rows = "".join(f"| {field[lang]} | {_code(field['value'])} |\n" for field in made.fields)
        found += f"\n| {words['field']} | {words['value']} |\n|---|---|\n{rows}"
    if made.env:
        lines = "".join(f"{name}={value}\n" for name, value in made.env.items())
        found += f"\n{words['env']}:\n\n```sh\n{lines}```\n"
    return found


def _code(value: str) -> str:
    return f"`{value}`" if value else ""


def main() -> int:
    """Writes the pages; returns the exit code."""
    for lang, page in PAGES.items():
        page.write_text(render(lang), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
