"""The keys of docs/cache-keys.md, written a second time from that page."""

import hashlib


def u64(n):
    return n.to_bytes(8, "little")


def framed(value):
    return u64(len(value)) + value


def key(kind, *fields):
    """A key: fields are (name, value), a value is text, the 32 bytes of a digest, or a list of texts."""
    def one(name, value):
        data = value if isinstance(value, bytes) else value.encode()
        return len(name).to_bytes(4, "little") + name.encode() + u64(len(data)) + data

    out = one("key", kind)
    for name, value in fields:
        if isinstance(value, list):
            out += one(name, str(len(value))) + b"".join(one(name, each) for each in value)
        else:
            out += one(name, value)
    return hashlib.sha256(out).digest()


FILE, DIR, LINK = 0, 1, 2


def entry(path, kind, mode, *, uid=0, gid=0, content=None, link="", passage=False, major=0, minor=0, group=0, xattrs=()):
    """One entry of a tree, its content given as bytes."""
    size = len(content) if kind == FILE else 0
    digest = hashlib.sha256(content).digest() if kind == FILE else bytes(32)
    out = framed(path.encode()) + u64(kind | passage << 8) + u64(mode) + u64(uid) + u64(gid) + u64(size) + framed(link.encode())
    out += u64(major) + u64(minor) + u64(group) + u64(len(xattrs))
    for name, value in xattrs:
        out += framed(name.encode()) + framed(value)
    return out + framed(digest)


def tree(*entries):
    return hashlib.sha256(framed(b"lighter tree 1") + u64(len(entries)) + b"".join(entries)).digest()


def selection(roots, entries):
    """A source's digest: roots are (base name, is a directory, first entry, entries)."""
    out = framed(b"lighter selection 1") + u64(len(roots))
    for name, is_dir, first, n in roots:
        out += framed(name.encode()) + u64(is_dir) + u64(first) + u64(n)
    return hashlib.sha256(out + framed(tree(*entries))).digest()
