"""The page at `/`, for whoever opens the printed address in a browser: one file, nothing loaded from elsewhere."""

import re
from html import escape
from string import Template
from typing import Final

from fastapi import APIRouter, Request, Response

from tollgate_edge.api.context import HttpContext

_PAGE: Final = Template("""<!doctype html>
<html lang="$lang"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>Tollgate</title>
<style>
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5d6b7d;--line:#dfe4ea;--back:#f6f7f9;--card:#fff;--mark:#0b6e4f}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa7b8;--line:#2c3440;--back:#12161c;--card:#1a2029;
--mark:#4cc79a}}
*{box-sizing:border-box}body{margin:0;background:var(--back);color:var(--ink);font:16px/1.6 system-ui,sans-serif}
main{max-width:44rem;margin:8vh auto;padding:0 1.25rem}h1{margin:0;font-size:2rem}h1 i{color:var(--mark)}
p{color:var(--soft);margin:.25rem 0 1.5rem}h2{font-size:1rem;margin:1.75rem 0 .5rem}a{color:var(--mark)}
code{font:14px/1.6 ui-monospace,monospace}pre{margin:0;padding:1rem;overflow-x:auto;background:var(--card);
border:1px solid var(--line);border-radius:.5rem}ul{list-style:none;margin:0;padding:0;background:var(--card);
border:1px solid var(--line);border-radius:.5rem}li{display:flex;flex-wrap:wrap;gap:0 1rem;padding:.6rem 1rem;
border-top:1px solid var(--line)}li:first-child{border:0}li a,li code{flex:0 0 12rem}li span{color:var(--soft)}
</style></head><body><main>
<h1>Tollgate<i>.</i></h1><p>$what</p>
<h2>$base</h2><pre><code>$url/v1</code></pre>
<h2>$try_it</h2><pre><code>curl -N $url/v1/chat/completions \\
  -H 'Authorization: Bearer YOUR_KEY' \\
  -H 'Content-Type: application/json' \\
  -d '{"model": "YOUR_MODEL", "stream": true,
       "messages": [{"role": "user", "content": "$hello"}]}'</code></pre>
<h2>$more</h2><ul>
<li><a href="/v1/models">/v1/models</a><span>$models</span></li>
<li><a href="/readyz">/readyz</a><span>$ready</span></li>
<li><a href="/api/openapi.json">/api/openapi.json</a><span>$api</span></li>
<li><a href="/docs/errors">/docs/errors</a><span>$errors</span></li>
<li><code>$docs_at</code><span>$docs</span></li></ul>
</main></body></html>
""")
_ENGLISH: Final = {
    "lang": "en",
    "what": "This gateway is up and speaks OpenAI's API. Point a client at the base URL, with a key of this gateway.",
    "base": "Base URL",
    "try_it": "Try it",
    "hello": "Say hello",
    "more": "What else is here",
    "models": "models that your key may use (send the key)",
    "ready": "whether everything works, and what is missing",
    "api": "all routes, as an OpenAPI document",
    "errors": "every error, what it means, and what to do",
    "docs_at": "docs/tutorial.md",
    "docs": "the documentation, in the checkout; docs/guides goes on from there",
}
_CHINESE: Final = {
    "lang": "zh",
    "what": "网关已启动，兼容 OpenAI 接口。把客户端的地址设为下面的基础 URL，并使用本网关的密钥。",
    "base": "基础 URL",
    "try_it": "试一试",
    "hello": "你好",
    "more": "其他入口",
    "models": "您的密钥可用的模型（请求时带上密钥）",
    "ready": "是否一切就绪，以及还缺什么",
    "api": "全部接口的 OpenAPI 文档",
    "errors": "全部错误码、含义与处理办法",
    "docs_at": "docs/tutorial.zh.md",
    "docs": "文档在代码仓库中；更多内容见 docs/guides",
}
PAGE_HEADERS: Final = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "cache-control": "no-cache",
    "vary": "accept-language",
}
_QUALITY: Final = re.compile(r";\s*q=(0(?:\.\d*)?|1(?:\.0*)?)\s*$")


def welcome_router(context: HttpContext) -> APIRouter:
    """Returns the route `/`."""
    router = APIRouter()

    @router.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def welcome(request: Request) -> Response:
        base = (context.public_url or str(request.base_url)).rstrip("/")
        words = _CHINESE if prefers_chinese(request.headers.get("accept-language", "")) else _ENGLISH
        page = _PAGE.substitute(words, url=escape(base))
        return Response(page, headers=PAGE_HEADERS, media_type="text/html")

    return router


def prefers_chinese(accepted: str) -> bool:
    """Says whether an Accept-Language header puts Chinese before English; who names neither reads English."""
    best = {"en": 0.0, "zh": 0.0}
    for part in accepted.lower().split(","):
        language = part.partition(";")[0].strip().partition("-")[0]
        if language in best:
            quality = _QUALITY.search(part)
            best[language] = max(best[language], float(quality[1]) if quality else 1.0)
    if best["zh"] != best["en"]:
        return best["zh"] > best["en"]
    return best["zh"] > 0 and accepted.lower().find("zh") < accepted.lower().find("en")
