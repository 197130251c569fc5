"""Writes docs/reference/errors.md and errors.zh.md from edge's table of errors. Run by `make errors`."""

import sys
from pathlib import Path

from tollgate_edge.api.error_page import ALSO, retry_text, said, spoken_in
from tollgate_edge.error_entry import Text
from tollgate_edge.error_table import TABLE

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    "en": ROOT / "docs" / "reference" / "errors.md",
    "zh": ROOT / "docs" / "reference" / "errors.zh.md",
}
HEAD = {
    "en": """# Errors

[中文](errors.zh.md)

What each `code` of an error means and what to do.
Every error body links to its entry: `doc_url` beside `code` in the dialects of OpenAI and Anthropic,
`google.rpc.Help` in Gemini's `details`.
The link leads to `/docs/errors` of the gateway itself, which shows this page without the internet, in English or
Chinese by what the browser prefers. Its address is `TOLLGATE_EDGE_PUBLIC_URL`, or else what the caller called the
gateway.

Codes of a provider for a request that it finds invalid are passed on as they are; their link leads to
[`invalid_request`](#invalid_request).
Every reply carries `x-request-id`; quote it when you ask for help.

This page is written by `make errors` from `services/edge/src/tollgate_edge/error_table.py`.
""",
    "zh": """# 错误码

[English](errors.md)

每个错误 `code` 的含义与处理办法。
每个错误回复都带有指向对应条目的链接：
OpenAI 与 Anthropic 格式中是 `code` 旁边的 `doc_url`，Gemini 格式中是 `details` 里的 `google.rpc.Help`。
链接指向网关自身的 `/docs/errors`，无需互联网即可打开，并按浏览器的语言偏好显示中文或英文。
其地址取自 `TOLLGATE_EDGE_PUBLIC_URL`，未设置时取调用方所用的主机名。

供应商认为请求无效时给出的错误码会原样传递，其链接指向 [`invalid_request`](#invalid_request)。
每个回复都带有 `x-request-id`，求助时请附上。

本页由 `make errors` 根据 `services/edge/src/tollgate_edge/error_table.py` 生成。
""",
}
DO = Text("What to do", "处理办法")


def render(lang: str) -> str:
    """Returns the page in `en` or `zh`."""
    parts = [HEAD[lang]]
    for entry in TABLE:
        parts.append(f"\n## {entry.code}\n\n{said(entry.means, lang)}\n\n")
        parts.append(f"**{said(DO, lang)}{'：' if lang == 'zh' else ':'}** {said(entry.do, lang)}\n\n")
        parts.append(f"- {retry_text(entry, lang)}\n- {spoken_in(entry)}\n")
        if entry.also:
            parts.append(f"- {said(ALSO, lang)} {', '.join(f'`{code}`' for code in entry.also)}\n")
    return "".join(parts)


def main() -> int:
    """Writes the pages; returns the exit code."""
    for lang, page in PAGES.items():
        page.write_text(render(lang), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
