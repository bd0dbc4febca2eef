"""Random projects: Dockerfiles and contexts that change a little between builds, and what their images must be."""

import hashlib
import io
import tarfile

from harness import Lighter, remove


def archive(text):
    """A tar with one file, whose bytes follow from the text alone."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("in/tar", "in/more/tar"):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


# What a stage is made of. {n} is the step's number, {k} a digit that edits change. Every step does the
# same each time it runs, whatever a cache mount holds and wherever it was killed before.
PARTS = [
    "RUN for i in $(seq 20); do echo {k} $i >/run{n}-$i; done",
    "RUN mkdir -p /dir{n}/a/b && echo {k} >/dir{n}/a/b/c && ln -s a /dir{n}/link && chown 7:8 /dir{n}/a",
    "RUN rm -rf /etc/passwd /d && mkdir /d && echo {k} >/d/new{n}",
    "RUN head -c {k}000000 /dev/zero | tr '\\0' x >/big{n}",
    "RUN true",
    "RUN --mount=type=cache,target=/c,id=c{k} [ -e /c/whole ] || {{ echo made >/c/.new && mv /c/.new /c/whole; }}; "
    "cat /c/whole >/cached{n}; echo {n} >>/c/log",
    "RUN --mount=type=bind,source=sub,target=/b cat /b/* >/bound{n}",
    "COPY . /all{n}/",
    "COPY sub /sub{n}",
    "COPY --chown=7:8 --chmod=u+x sub/0 /owned{n}",
    "COPY --link sub /linked{n}/",
    "COPY --exclude=*1 sub /some{n}/",
    "ADD a.tar /tar{n}/",
    "WORKDIR /work{n}/deep",
    "COPY <<EOF /doc{n}\nline {k}\nEOF",
]


class Project:
    """A Dockerfile and a context, which change a little between builds."""

    def __init__(self, lighter, dice):
        self.lighter, self.dice = lighter, dice
        self.parts = [[dice.randrange(len(PARTS)) for _ in range(dice.randrange(2, 5))]
                      for _ in range(dice.randrange(1, 4))]
        self.digit = 1
        many = 330 if dice.random() < 0.4 else 6  # a COPY of more than 300 files may be written as a difference
        self.files = {f"sub/{i}": "0" for i in range(many)}
        self.top = lighter.directory()
        self.write({**self.files, "top": "0", "a.tar": "0"})

    def write(self, files):
        for name, text in files.items():
            self.files[name] = text
            path = self.top / name
            if text is None:
                path.unlink(missing_ok=True)
                continue
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(archive(text) if name == "a.tar" else text.encode())
            path.chmod(0o644)
            path.parent.chmod(0o755)
        self.lighter.own(self.top)

    def edit(self):
        if self.dice.random() < 0.2:
            self.digit = self.dice.randrange(1, 4)
        for _ in range(self.dice.randrange(1, 3)):
            name = self.dice.choice(["sub/0", "sub/1", "sub/2", "sub/new", "top", "a.tar"])
            gone = name not in ("a.tar", "sub/0") and self.dice.random() < 0.3
            self.write({name: None if gone else str(self.dice.randrange(3))})

    def dockerfile(self):
        lines, n = [], 0
        for stage, parts in enumerate(self.parts):
            lines.append(f"FROM busybox AS s{stage}")
            for part in parts:
                n += 1
                lines.append(PARTS[part].format(n=n, k=self.digit))
            if stage:
                lines.append(f"COPY --from=s{stage - 1} /bin/busybox /mark /of{stage}/")
            lines.append(f"COPY top* sub/0 /mark/\nRUN cat /mark/* | wc -c >/count{stage}")
        return "\n".join(lines) + "\n"

    def content(self):
        """What the image follows from."""
        return hashlib.sha256(repr((self.dockerfile(), sorted(self.files.items(), key=str))).encode()).hexdigest()


class Oracle:
    """The image that a store which knows nothing gives."""

    def __init__(self, lighter, base):
        self.lighter, self.base, self.known = lighter, base, {}

    def __call__(self, project):
        content = project.content()
        if content not in self.known:
            one = Lighter(self.lighter.binary, self.lighter.directory(), self.lighter.account, self.lighter.isolation)
            one.load(self.base)
            self.known[content] = one.build(project.top, "--epoch=content", dockerfile=project.dockerfile()).id
            remove(one.place)
        return self.known[content]
