package main

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"os"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

func init() { kinds["zip"] = zips }

const zipModule, zipVersion = "a.b/c", "v1.0.0"

// One entry, with every field that a liar could want to set.
type entry struct {
	name, localName string
	body            []byte
	method, flags   uint16
	crc             uint32
	packed, size    uint64
	extra, local    []byte // extra fields
	attrs           uint32
	system          byte
	zip64           bool
	descriptor      []byte
	move            int64
}

func newEntry(name string, content []byte) entry {
	e := entry{name: name, localName: name, body: content, size: uint64(len(content)), crc: crc32.ChecksumIEEE(content)}
	if rng.Intn(2) == 0 {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, rng.Intn(10))
		w.Write(content)
		w.Close()
		e.method, e.body = 8, b.Bytes()
	}
	if strings.HasSuffix(name, "/") {
		e.method, e.body, e.size, e.crc = 0, nil, 0, 0
	}
	e.packed = uint64(len(e.body))
	switch rng.Intn(4) {
	case 0:
		e.flags |= 8
		e.descriptor = binary.LittleEndian.AppendUint32(nil, 0x08074b50)
		fallthrough
	case 1:
		e.flags |= 8
		e.descriptor = binary.LittleEndian.AppendUint32(e.descriptor, e.crc)
		e.descriptor = append(e.descriptor, make([]byte, pick([]int{8, 8, 16}))...)
	}
	e.zip64 = rng.Intn(8) == 0
	return e
}

// Put one lie into an entry.
func (e *entry) lie() {
	switch rng.Intn(14) {
	case 0:
		e.size += uint64(rng.Intn(3)) - 1
	case 1:
		e.packed += uint64(rng.Intn(3)) - 1
	case 2:
		e.crc ^= 1 << rng.Intn(32)
	case 3:
		e.crc = 0
	case 4:
		e.method = pick([]uint16{0, 8, 9, 12, 99})
	case 5:
		e.flags ^= pick([]uint16{1, 8, 0x800, 1 << 6, 1 << 13})
	case 6:
		e.localName = mutate(e.localName, []string{"x", "/"})
	case 7:
		e.system = pick([]byte{3, 19, 0, 11})
		e.attrs = pick([]uint32{0xa1ff0000, 0x41ed0000, 0x81a40000, 0x21a40000, 0x10, 0xc1ff0000})
	case 8:
		e.size = pick([]uint64{1 << 29, 1 << 32, 1<<63 + 5, 0xffffffff, 600 << 20})
	case 9:
		e.move = int64(rng.Intn(5)) - 2
	case 10:
		e.body = append(append([]byte{}, e.body...), 'x')
	case 11:
		if len(e.body) > 0 {
			e.body = append([]byte{}, e.body...)
			e.body[rng.Intn(len(e.body))] ^= byte(1 << rng.Intn(8))
		}
	case 12:
		if len(e.descriptor) > 0 {
			e.descriptor[rng.Intn(len(e.descriptor))] ^= 1
		}
	case 13:
		e.extra = pick([][]byte{{1, 0, 0, 0}, {1, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8}, {9, 9, 200, 0}, {1}, {1, 0, 24, 0, 1}})
	}
}

func le(b *bytes.Buffer, v any) { binary.Write(b, binary.LittleEndian, v) }

func build(list []entry, damage bool) []byte {
	var b, dir bytes.Buffer
	for _, e := range list {
		at := int64(b.Len()) + e.move
		le(&b, uint32(0x04034b50))
		le(&b, []uint16{20, e.flags, e.method, 0, 0})
		le(&b, []uint32{e.crc, uint32(e.packed), uint32(e.size)})
		le(&b, []uint16{uint16(len(e.localName)), uint16(len(e.local))})
		b.WriteString(e.localName)
		b.Write(e.local)
		b.Write(e.body)
		b.Write(e.descriptor)
		extra := e.extra
		packed, size, offset := uint32(e.packed), uint32(e.size), uint32(at)
		if e.zip64 || e.size > 0xffffffff {
			packed, size, offset = 0xffffffff, 0xffffffff, 0xffffffff
			extra = binary.LittleEndian.AppendUint16([]byte{1, 0}, 24)
			extra = binary.LittleEndian.AppendUint64(extra, e.size)
			extra = binary.LittleEndian.AppendUint64(extra, e.packed)
			extra = binary.LittleEndian.AppendUint64(extra, uint64(at))
			extra = append(extra, e.extra...)
		}
		le(&dir, uint32(0x02014b50))
		le(&dir, []uint16{20 | uint16(e.system)<<8, 20, e.flags, e.method, 0, 0})
		le(&dir, []uint32{e.crc, packed, size})
		le(&dir, []uint16{uint16(len(e.name)), uint16(len(extra)), 0, 0, 0})
		le(&dir, e.attrs)
		le(&dir, offset)
		dir.WriteString(e.name)
		dir.Write(extra)
	}
	n, size, offset := uint64(len(list)), uint64(dir.Len()), uint64(b.Len())
	b.Write(dir.Bytes())
	n16, size32, offset32 := uint16(n), uint32(size), uint32(offset)
	lie := func(v uint64) uint64 {
		if damage && rng.Intn(8) == 0 {
			return v + uint64(rng.Intn(5)) - 2
		}
		return v
	}
	if rng.Intn(6) == 0 {
		at := uint64(b.Len())
		le(&b, uint32(0x06064b50))
		le(&b, lie(44))
		le(&b, []uint16{45, 45})
		le(&b, []uint32{0, 0})
		le(&b, []uint64{lie(n), lie(n), lie(size), lie(offset)})
		le(&b, uint32(0x07064b50))
		le(&b, uint32(0))
		le(&b, lie(at))
		le(&b, uint32(1))
		if rng.Intn(2) == 0 {
			n16, size32, offset32 = 0xffff, 0xffffffff, 0xffffffff
		}
	}
	comment := pick([]string{"", "", "", "hi", "PK\x05\x06", strings.Repeat("c", 30)})
	le(&b, uint32(0x06054b50))
	le(&b, []uint16{0, 0, n16, n16})
	le(&b, []uint32{uint32(lie(uint64(size32))), uint32(lie(uint64(offset32)))})
	le(&b, uint16(lie(uint64(len(comment)))))
	b.WriteString(comment)
	return b.Bytes()
}

var zipNames = []string{
	"a.go", "b/a.go", "b/", "b/c/d.go", "go.mod", "LICENSE", "b/b.go", "B/a.go", "A.go", "b", "b-/x", "b.go", "vendor/x/y.go", "ü.txt", "Ü.txt", "ſ.x", "s.x", "K", "k",
	"sub/go.mod", "GO.MOD", "Go.mod", "../x", "/abs", "b//c", "./x", "b/../c", "con", "x/NUL.txt", "a b", "a:b", "a*", ".hidden", "x.", "", "/", "b/LICENSE", "sub/Go.Mod", "long/" + strings.Repeat("n", 100),
}

var zipContents = [][]byte{nil, []byte("x"), []byte("package c\n"), bytes.Repeat([]byte("module a.b/c\n"), 20)}

func anyZip() []byte {
	prefix := zipModule + "@" + zipVersion + "/"
	var list []entry
	names := zipNames
	honest := rng.Intn(3) > 0
	if honest {
		names = zipNames[:20]
	}
	for k := rng.Intn(5); k > 0; k-- {
		list = append(list, newEntry(prefix+pick(names), pick(zipContents)))
	}
	if rng.Intn(10) == 0 {
		list = append(list, newEntry(pick([]string{prefix, "a.b/c@v1.0.1/x", "a.b/C@v1.0.0/x", "x", "a.b/c@v1.0.0"}), nil))
	}
	if len(list) > 0 && rng.Intn(2) == 0 {
		list[rng.Intn(len(list))].lie()
	}
	z := build(list, !honest)
	switch rng.Intn(16) {
	case 0:
		z = append([]byte("prefix"), z...)
	case 1:
		z = append(z, pick([]string{"x", "PK\x05\x06"})...)
	case 2:
		z[rng.Intn(len(z))] ^= byte(1 << rng.Intn(8))
	case 3:
		z = z[:rng.Intn(len(z))]
	}
	return z
}

func zips(n int) {
	dir, err := os.MkdirTemp("/dev/shm", "zips")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	m := module.Version{Path: zipModule, Version: zipVersion}
	for i := 0; i < n; i++ {
		z := anyZip()
		os.WriteFile(dir+"/z", z, 0o666)
		os.RemoveAll(dir + "/x")
		err := zip.Unzip(dir+"/x", m, dir+"/z")
		h := ""
		if err == nil {
			h, err = dirhash.HashZip(dir+"/z", dirhash.Hash1)
		}
		emit("zip", ok(h, err), string(z))
	}
}
