"""A model that a document or the command line prints in an example is one that the catalogue knows."""

import re
from collections.abc import Iterator

import yaml
from tests.tidy.rules.tree import Tree, Violation

CATALOGUE = "libs/resources/src/tollgate_resources/data/models.yaml"
PRINTED = re.compile(r"""\\?["']?\bmodel\b\\?["']?\s*[:=]\s*\\?["']([A-Za-z0-9][A-Za-z0-9._/-]*)\\?["']""")


def check(tree: Tree) -> Iterator[Violation]:
    """Yields model names in Markdown files and in the sources of the command line that the catalogue does not have."""
    if CATALOGUE not in tree.names:
        return
    known = {model["name"] for model in yaml.safe_load(tree.text(CATALOGUE))["models"]}
    for name in tree.matching("**/*.md", "cli/src/**/*.py"):
        for number, line in enumerate(tree.text(name).splitlines(), 1):
            for model in PRINTED.findall(line):
                if model not in known:
                    yield Violation(name, number, f"the catalogue has no model {model}")


_MODELS = {CATALOGUE: "models:\n  - name: gpt-5.1\n"}

PLANTED = [
    ({**_MODELS, "README.md": '```\ncurl -d \'{"model": "gpt-0", "messages": []}\'\n```\n'}, "README.md:2"),
    ({**_MODELS, "docs/a.md": 'client.chat.completions.create(model="gpt-0")\n'}, "no model gpt-0"),
    ({**_MODELS, "cli/src/a/x.py": 'LINE = "{\\"model\\": \\"gpt-0\\"}"\n'}, "no model gpt-0"),
]
KEPT = [{**_MODELS, "README.md": '{"model":"gpt-5.1"} model: str = "x" `"model": 7`\n'}]
