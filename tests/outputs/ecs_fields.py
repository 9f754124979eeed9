"""Lists the fields of the Elastic Common Schema from Elastic's own package.

    npm pack @elastic/ecs@9.4.0 && tar xzf elastic-ecs-9.4.0.tgz
    python ecs_fields.py package > ecs-9.4.0.txt

A line is a field's name and its type as the package's TypeScript has it.
"""

import pathlib
import re
import sys

GROUPS = [
    "base", "ecs", "event", "log", "host", "user", "source", "destination", "process", "file",
    "related", "rule", "threat",
]


def fields(text):
    """The fields of an interface, with the names of the objects they lie in."""
    path = []
    for line in re.sub(r"/\*.*?\*/", "", text, flags=re.S).splitlines():
        member = re.match(r"\s*'?([@\w]+)'?\??: (.*)$", line)
        if line.startswith("export interface"):
            continue
        if member and member[2] == "{":
            path.append(member[1])
        elif member:
            yield ".".join([*path, member[1]]), member[2].rstrip(";")
        elif line.strip() == "};" and path:
            path.pop()


def main():
    package = pathlib.Path(sys.argv[1])
    for group in GROUPS:
        text = (package / "generated" / f"{group}.ts").read_text()
        for name, kind in fields(text):
            print(name if group == "base" else f"{group}.{name}", kind, sep="\t")


main()
