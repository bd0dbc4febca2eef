"""Zips of modules, entry by entry: legal ones of every kind, and ones that mean harm.

Source: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.9, 4.3.12, 4.3.16; Go modules reference, "Module zip files".
"""

import dataclasses
import random
import struct
import zlib

from goproxy import Module


@dataclasses.dataclass
class Entry:
    name: str
    data: bytes = b""
    mode: int = 0o100644
    stored: bool = False
    behind: bool = False  # sizes and sum stand behind the data, as Go's own writer has it
    says: int = None      # the size it claims to have unpacked
    extra: bytes = b""


def pack(entries, comment=b""):
    out, directory = bytearray(), bytearray()
    for e in entries:
        name = e.name.encode()
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        data = e.data if e.stored else deflate.compress(e.data) + deflate.flush()
        size = len(e.data) if e.says is None else e.says
        flags = (0 if e.name.isascii() else 1 << 11) | (1 << 3 if e.behind else 0)
        sizes = struct.pack("<III", zlib.crc32(e.data), len(data), size)
        common = struct.pack("<HHHH", flags, 0 if e.stored else 8, 0, 33)
        at = len(out)
        out += b"PK\3\4" + struct.pack("<H", 20) + common + (bytes(12) if e.behind else sizes)
        out += struct.pack("<HH", len(name), len(e.extra)) + name + e.extra + data
        if e.behind:
            out += b"PK\7\x08" + sizes
        directory += b"PK\1\2" + struct.pack("<HH", 3 << 8 | 20, 20) + common + sizes
        directory += struct.pack("<HHHHHII", len(name), len(e.extra), 0, 0, 0, e.mode << 16, at) + name + e.extra
    end = struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), len(directory), len(out), len(comment))
    return bytes(out + directory) + b"PK\5\6" + end + comment


def of(module, entries, comment=b"", prefix=None):
    """The module with this zip; names are below its own directory. Its h1 is what go computes of such a zip."""
    prefix = f"{module.path}@{module.version}/" if prefix is None else prefix
    module.files = {e.name: e.data for e in entries}
    module.zip = pack([dataclasses.replace(e, name=prefix + e.name) for e in entries], comment)
    return module


# ---- legal ones ----------------------------------------------------------------------------------

NAMES = ("A.go", "UPPER/Lower/x.TXT", "ünï/ćödé.txt", "日本語/ファイル", "Ελλάδα", "with space.txt", "vendor/x.test/y/y.go", "vendor/modules.txt",
         "testdata/-", "_go.mod", "sub/_go.mod", "sub/go.mod.in", "sub/go.sum", "sub/xgo.mod", ".hidden/.x", ".gitignore", "a!b", "a#b$c%d&e", "p(q)+r,s-t",
         "[x]^{y}~z", "deep/" + "d/" * 20 + "e", "n" * 200, "LICENSE", "README.md", "x/LICENSE", "x.y.z/...w", "=@", "00", "internal/i.go")
VERSIONS = ("v1.2.3", "v0.0.0-20240115102030-0123456789ab", "v1.0.0-RC.1", "v1.0.0-rc1", "v2.3.4+incompatible", "v0.1.0-0.20240115102030-abcdefabcdef",
            "v2.0.0", "v3.0.0-Beta", "v12.1.0+incompatible")


def legal(i):
    """Module number `i`: the same each time, and no two alike."""
    r = random.Random(i)
    version = VERSIONS[i % len(VERSIONS)]
    major = version.split(".")[0]
    path = f"example.test/{r.choice(('Legal', 'legal', 'LEGAL', 'le-gal', 'le_gal', 'le~gal', 'l.e.gal'))}/M{i}"
    if major not in ("v0", "v1") and "+" not in version:
        path += "/" + major
    module = Module(path, version)
    names = r.sample(NAMES, r.randint(1, len(NAMES)))
    entries = [Entry(name, r.choice((b"", b"x", r.randbytes(r.randint(1, 3000)), b"// y\n" * 3000))) for name in names]
    if "+" in version:
        module.mod = f"module {path}\n".encode()  # what a proxy says of a module that has none
    else:
        entries.append(Entry("go.mod", module.mod))
    if r.random() < 0.3:
        entries += [Entry(top + "/", stored=True, mode=0o40755) for top in {name.split("/")[0] for name in names if "/" in name}]
    for e in entries:
        e.stored = e.stored or r.random() < 0.3
        e.behind = r.random() < 0.3
        e.mode = e.mode if e.name.endswith("/") else r.choice((0, 0o100644, 0o100755, 0o100600, 0o104755))
        e.extra = r.choice((b"", b"", b"UT\5\0\1abcd"))
    r.shuffle(entries)
    return of(module, entries, r.choice((b"", b"0123456789abcdef0123456789abcdef01234567")))
