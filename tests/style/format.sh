#!/bin/sh
# The C sources are laid out as .clang-format says. Usage: format.sh CLANG-FORMAT, from the source root.
exec "$1" --dry-run --Werror src/*/*.[ch] tests/unit/*.[ch] tests/fuzz/*.c
