"""Every `make` target lists itself in `make help`, and no document names one that does not exist."""

import re
from collections.abc import Iterator

from tests.tidy.rules.tree import Tree, Violation

TARGET = re.compile(r"^([a-z][a-z0-9_-]*)\s*:(?!=)(.*)$")
USED = re.compile(r"`make ([a-z][a-z0-9-]*)|^\s*(?:\$ )?make ([a-z][a-z0-9-]*)", re.MULTILINE)
PHONY = re.compile(r"^\.PHONY:\s*(.*)$", re.MULTILINE)


def check(tree: Tree) -> Iterator[Violation]:
    """Yields targets without a sentence, targets that a file could hide, and unknown ones in documents."""
    if "Makefile" not in tree.names:
        return
    text = tree.text("Makefile")
    phony = {name for line in PHONY.findall(text) for name in line.split()}
    targets: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        found = TARGET.match(line)
        if found:
            targets.add(found[1])
            if not re.search(r"## \S", found[2]):
                yield Violation("Makefile", number, f"{found[1]} does not say what it does (`## …`)")
            if found[1] not in phony:
                yield Violation("Makefile", number, f"{found[1]} is not .PHONY")
    for name in tree.matching("**/*.md", ".ci/*"):
        for match in USED.finditer(tree.text(name)):
            used = match[1] or match[2]
            if used not in targets:
                line = tree.text(name).count("\n", 0, match.start()) + 1
                yield Violation(name, line, f"there is no target `make {used}`")


PLANTED = [
    ({"Makefile": ".PHONY: up\nup: x\n\t@run\n"}, "up does not say"),
    ({"Makefile": "up: x ## Run\n\t@run\n"}, "not .PHONY"),
    ({"Makefile": ".PHONY: up\nup: ## Run\n", "README.md": "Type `make fly`.\n"}, "make fly"),
    ({"Makefile": ".PHONY: up\nup: ## Run\n", ".ci/run": "#!/bin/sh\nmake tests\n"}, "make tests"),
]
KEPT = [
    {"Makefile": "A := b\n.PHONY: up\nup: $(X) ## Run\n\t@run\n", "README.md": "`make up ARGS=x` makes it run\n"},
]
