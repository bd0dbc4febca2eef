#!/usr/bin/env python3
"""Rooms are entered by their door, along the arrows of src/rooms.txt.

For each #include "room/file.h" of a file in another room: the arrow must be in src/rooms.txt, the header must be
the room's door (room/room.h; base has no door and image/ref.h is part of image's door), and no arrows may form a
cycle. Usage: rooms.py SRC
"""

import re
import sys
from pathlib import Path

DOORS = {"image/ref.h"}


def read_arrows(src):
    arrows = {}
    for line in (src / "rooms.txt").read_text().splitlines():
        line = line.split("#")[0].strip()
        if line:
            room, _, uses = line.partition(":")
            arrows[room.strip()] = uses.split()
    return arrows


def check_cycles(arrows, problems):
    state = {}

    def visit(room, path):
        if state.get(room) == "open":
            problems.append("rooms.txt: a cycle: " + " -> ".join(path + [room]))
        if room in state:
            return
        state[room] = "open"
        for other in arrows.get(room, []):
            if other != "*":
                visit(other, path + [room])
        state[room] = "done"

    for room in arrows:
        visit(room, [])


def check_file(path, src, arrows, problems):
    room = path.parent.name
    for number, line in enumerate(path.read_text().splitlines(), 1):
        m = re.match(r'#include "(\w+)/(\w+\.h)"', line)
        if not m or m[1] == room:
            continue
        where = f"{path.relative_to(src)}:{number}"
        if m[1] not in arrows[room] and "*" not in arrows[room]:
            problems.append(f"{where}: {room} may not use {m[1]}")
        if m[1] != "base" and m[2] != m[1] + ".h" and f"{m[1]}/{m[2]}" not in DOORS:
            problems.append(f"{where}: {m[1]}/{m[2]} is private to {m[1]}")


def main():
    src = Path(sys.argv[1])
    arrows = read_arrows(src)
    problems = []
    check_cycles(arrows, problems)
    rooms = sorted(p.name for p in src.iterdir() if p.is_dir())
    for room in rooms:
        if room not in arrows:
            problems.append(f"rooms.txt does not name the room {room}")
            continue
        if room not in ("base", "cmd") and not (src / room / f"{room}.h").exists():
            problems.append(f"{room} has no door {room}/{room}.h")
        for path in sorted((src / room).glob("*.[ch]")):
            check_file(path, src, arrows, problems)
    problems += [f"rooms.txt names {r}, which does not exist" for r in arrows if r not in rooms]
    print("\n".join(problems) or f"{len(rooms)} rooms, every door in its place")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
