"""YAML of people: no tags that make objects, no aliases that unfold to gigabytes, no nesting without end."""

from __future__ import annotations

import yaml

#: Nodes that aliases may repeat, all together: a rule file of 256 KB has some 50,000 of its own.
MOST_REPEATED = 10_000


def compose(text: str) -> yaml.Node | None:
    """Return the root of a YAML text's only document, None where there is none.

    Raises
    ------
    yaml.YAMLError
        It is no YAML, nests too deep, or its aliases repeat more than `MOST_REPEATED` nodes, or what they stand in.
    """
    try:
        root = yaml.compose(text, yaml.SafeLoader)
        sizes: dict[int, int] = {}
        if root is not None and _size(root, sizes) - len(sizes) > MOST_REPEATED:
            raise yaml.YAMLError(f"aliases repeat more than {MOST_REPEATED:,} values: write them out")
    except RecursionError:
        raise yaml.YAMLError("values lie in each other without end: nest less deep") from None
    return root


def load(text: str) -> object:
    """Return what a YAML text says, in plain types; raises as `compose` does.

    Example
    -------
    >>> load("bar_s: 5")
    {'bar_s': 5}
    """
    root = compose(text)
    if root is None:
        return None
    try:
        return yaml.SafeLoader("").construct_document(root)
    except (ValueError, OverflowError, TypeError, RecursionError) as error:  # a date of month 13, a key that is a list
        raise yaml.YAMLError(str(error)) from error


def _size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """Return how many nodes a node is with all that its aliases stand for; ``sizes`` are of those that were seen."""
    if (known := sizes.get(id(node))) is not None:
        if not known:
            raise yaml.YAMLError("an alias stands within what it names: write it out")
        return known
    sizes[id(node)] = 0  # under way
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for entry in node.value for part in entry]
    size = 1 + sum(_size(part, sizes) for part in parts)
    sizes[id(node)] = size
    return size
