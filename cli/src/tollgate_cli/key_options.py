"""What `tollgate keys create` takes besides names and limits."""

from typing import Annotated

import typer

ModelsOption = Annotated[list[str] | None, typer.Option(help="A model that it may ask for; all if left out.")]
EndpointsOption = Annotated[
    list[str] | None, typer.Option(help="What it may be used for: chat, embeddings, images, media; all if left out.")
]
CidrsOption = Annotated[
    list[str] | None, typer.Option(help="A network that it may be used from, such as 203.0.113.0/24; all if left out.")
]
TagsOption = Annotated[
    list[str] | None, typer.Option(help="A word that its usage is counted by, as in `budgets create --tag`.")
]
ExpiresOption = Annotated[
    str | None, typer.Option(help="How long it is good, as in 12h, 30d or 8w, or a date; for ever if left out.")
]
