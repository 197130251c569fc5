"""The page of errors that every error body links to: one file, nothing loaded from elsewhere, one anchor per code."""

import re
from html import escape
from string import Template
from typing import Final

from fastapi import APIRouter, Request, Response

from tollgate_edge.api.context import HttpContext
from tollgate_edge.api.welcome import PAGE_HEADERS, prefers_chinese
from tollgate_edge.error_entry import Entry, Retry, Text
from tollgate_edge.error_table import TABLE
from tollgate_edge.errors import ERRORS_PATH

_PAGE: Final = Template("""<!doctype html>
<html lang="$lang"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>$title · Tollgate</title>
<style>
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5d6b7d;--line:#dfe4ea;--back:#f6f7f9;--card:#fff;--mark:#0b6e4f}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa7b8;--line:#2c3440;--back:#12161c;--card:#1a2029;
--mark:#4cc79a}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:16px/1.6 system-ui,sans-serif}
main{max-width:48rem;margin:6vh auto;padding:0 1.25rem}h1{margin:0;font-size:2rem}a{color:var(--mark)}
h2{font:600 1.05rem/1.6 ui-monospace,monospace;margin:0}p{margin:.5rem 0}code{font:14px/1.6 ui-monospace,monospace}
section{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:1rem 1.25rem;margin:1rem 0}
section:target{border-color:var(--mark);box-shadow:0 0 0 1px var(--mark)}.says{color:var(--soft);font-size:.9rem}
.top{color:var(--soft)}
</style></head><body><main>
<h1>$title</h1><p class="top">$intro <a href="?lang=$other" hreflang="$other" lang="$other">$switch</a></p>
$entries</main></body></html>
""")
_RETRY: Final = {
    Retry.NEVER: Text(
        "Not to be repeated: the reply says `x-should-retry: false`.", "不要重试：回复带有 `x-should-retry: false`。"
    ),
    Retry.CHANGED: Text("Repeat it only once it is changed.", "修改之后才可重试。"),
    Retry.LATER: Text("May be repeated as it is, after a wait.", "可在等待之后原样重试。"),
}
TITLE: Final = Text("Errors", "错误码")
INTRO: Final = Text(
    "What each `code` means and what to do. The reply's `x-request-id` names the request; quote it when you ask for "
    "help.",
    "每个 `code` 的含义与处理办法。回复头 `x-request-id` 是请求编号，求助时请附上。",
)
ALSO: Final = Text("Also sent as", "也可能以此形式出现：")
_SWITCH: Final = Text("中文", "English")
_DO: Final = Text("What to do:", "处理办法：")


def error_page_router(_context: HttpContext) -> APIRouter:
    """Returns the route of the page, in English or Chinese by `lang` or else by Accept-Language."""
    router = APIRouter()
    # Made once: the table does not change while a process runs.
    pages = {"en": _page("en"), "zh": _page("zh")}

    @router.api_route(ERRORS_PATH, methods=["GET", "HEAD"], include_in_schema=False)
    async def error_page(request: Request) -> Response:
        chosen = pages.get(request.query_params.get("lang", ""))
        chinese = prefers_chinese(request.headers.get("accept-language", ""))
        return Response(chosen or pages["zh" if chinese else "en"], headers=PAGE_HEADERS, media_type="text/html")

    return router


def said(text: Text, lang: str) -> str:
    """Returns a text in one of the two languages."""
    return text.zh if lang == "zh" else text.en


def retry_text(entry: Entry, lang: str) -> str:
    """Returns whether to repeat a request that had this error."""
    return said(_RETRY[entry.retry], lang)


def spoken_in(entry: Entry) -> str:
    """Returns how each dialect says it: status, and the words of OpenAI, Anthropic and Gemini."""
    other = f" {entry.anthropic_status}" if entry.anthropic_status else ""
    return (
        f"HTTP {entry.status} · OpenAI `{entry.type}` · Anthropic{other} `{entry.anthropic}` · "
        f"Gemini `{entry.gemini}`, `{entry.code.upper()}`"
    )


def _page(lang: str) -> str:
    return _PAGE.substitute(
        lang=lang,
        title=said(TITLE, lang),
        intro=_html(said(INTRO, lang)),
        other="en" if lang == "zh" else "zh",
        switch=said(_SWITCH, lang),
        entries="".join(_section(entry, lang) for entry in TABLE),
    )


def _section(entry: Entry, lang: str) -> str:
    also = ""
    if entry.also:
        codes = ", ".join(f'<code id="{code}">{code}</code>' for code in entry.also)
        also = f'<p class="says">{escape(said(ALSO, lang))} {codes}</p>\n'
    return (
        f'<section id="{entry.code}"><h2><a href="#{entry.code}">{entry.code}</a></h2>\n'
        f"<p>{_html(said(entry.means, lang))}</p>\n"
        f"<p><b>{escape(said(_DO, lang))}</b> {_html(said(entry.do, lang))}</p>\n"
        f'<p class="says">{_html(retry_text(entry, lang))}<br>{_html(spoken_in(entry))}</p>\n{also}</section>\n'
    )


def _html(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
