"""Builds that run a real go command, and what the module store has of them."""

from goproxy import go_mod, go_sum

DOWNLOAD = """\
FROM golang:1.22
WORKDIR /app
COPY go.mod go.sum ./
RUN go mod download
"""
MAIN = 'package main\n\nimport dep "{path}"\n\nfunc main() {{ println(dep.Name) }}\n'


def project(lighter, *modules, files=None, **more):
    return lighter.context({"go.mod": go_mod(*modules, **more), "go.sum": go_sum(*modules), **(files or {})})


def build(lighter, context, *args, proxy=None, goproxy=None, dockerfile=DOWNLOAD, env=None, **options):
    value = goproxy if goproxy is not None else proxy.url
    env = {"GOPROXY": value, "GOSUMDB": "off", "GOENV": "off", **(env or {})}
    return lighter.build(context, "--epoch=content", *args, dockerfile=dockerfile, env=env, **options)


def kept(lighter):
    """What the module store holds: {"path@version": directory}."""
    found = {}
    for about in (lighter.store / "gomod").glob("*/about"):
        path, version = about.read_text().splitlines()[:2]
        found[f"{path}@{version}"] = about.parent
    return found
