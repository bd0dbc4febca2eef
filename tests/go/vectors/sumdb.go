package main

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func init() {
	kinds["note"] = notes
	kinds["sumdb"] = sessions
}

// A key pair of a database, the same in every run.
type keys struct {
	verifier string
	signer   note.Signer
	wrapped  note.Verifier
}

func makeKeys(name string, seed byte) keys {
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32))
	vkey, err := note.NewEd25519VerifierKey(name, private.Public().(ed25519.PublicKey))
	if err != nil {
		panic(err)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		panic(err)
	}
	skey := fmt.Sprintf("PRIVATE+KEY+%s+%08x+%s", name, v.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{1}, private.Seed()...)))
	s, err := note.NewSigner(skey)
	if err != nil {
		panic(err)
	}
	return keys{vkey, s, v}
}

var (
	keyA = makeKeys("sum.test", 1)
	keyB = makeKeys("sum.test", 2) // another key of the same name
	keyC = makeKeys("other.test/x", 3)
)

func sign(text string, signers ...note.Signer) []byte {
	msg, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		panic(err)
	}
	return msg
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// ---- texts ----

func notes(n int) {
	pieces := []string{"\n", "\n\n", " ", "— ", "—", "+", "x", "\x01", "\xff", "\u00a0", "sum.test ", "=", "\r", "\x7f", "A"}
	for i := 0; i < n; i++ {
		text := "go.sum database tree\n" + fmt.Sprint(rng.Intn(1000)) + "\n" + b64(bytes.Repeat([]byte{byte(i)}, 32)) + "\n" + pick([]string{"", "", "more\n", "\nblank\n"})
		switch i % 6 {
		case 0, 1:
			key := pick([]keys{keyA, keyA, keyB, keyC})
			msg := string(sign(text, pick([][]note.Signer{{keyA.signer}, {keyB.signer, keyA.signer}, {keyC.signer}, {keyA.signer, keyC.signer}})...))
			if rng.Intn(3) > 0 {
				msg = mutate(msg, pieces)
			}
			if rng.Intn(10) == 0 {
				_, sigs, _ := strings.Cut(msg, "\n\n")
				msg += sigs // once more
			}
			opened, err := note.Open([]byte(msg), note.VerifierList(key.wrapped))
			if err != nil {
				emit("note", "bad", key.verifier, msg)
			} else {
				emit("note", "ok "+opened.Text, key.verifier, msg)
			}
		case 2:
			vkey := mutate(pick([]keys{keyA, keyC}).verifier, []string{"+", "x", "a", "=", " ", "0"})
			v, err := note.NewVerifier(vkey)
			if err != nil {
				emit("key", "bad", vkey)
			} else {
				emit("key", fmt.Sprintf("ok %s %08x", v.Name(), v.KeyHash()), vkey)
			}
		case 3:
			msg := mutate(text, append(pieces, "0", "-", "9223372036854775807"))
			t, err := tlog.ParseTree([]byte(msg))
			if err == nil && t.N >= 1<<62 || strings.Contains(msg, "\r") {
				continue // larger than we count; a blank in base64, which no note can have
			}
			emit("tree", ok(fmt.Sprintf("%d %s", t.N, b64(t.Hash[:])), err), msg)
		case 4:
			msg := mutate(fmt.Sprintf("%d\na.b/c v1.0.0 h1:x\na.b/c v1.0.0/go.mod h1:y\n\n%s", rng.Intn(100), pick([]string{"", text})), pieces)
			id, record, rest, err := tlog.ParseRecord([]byte(msg))
			first, _, _ := strings.Cut(msg, "\n")
			if err == nil && (first != fmt.Sprint(id) || id < 0 || id >= 1<<62) {
				continue // "+1", "01", "-1": taken by ParseInt, written by nobody
			}
			emit("record", ok(fmt.Sprintf("%d|%s|%s", id, record, rest), err), msg)
		case 5:
			t := tlog.Tile{H: 1 + rng.Intn(10), L: rng.Intn(12) - 1, N: rng.Int63n(int64(1) << uint(rng.Intn(62)+1))}
			t.W = 1 + rng.Intn(1<<uint(t.H))
			p := t.Path()
			if rng.Intn(3) > 0 {
				p = mutate(p, []string{"/", "x", "0", "1", "999", ".p", ".p/", "data", "-1", "tile/", "+"})
			}
			t, err := tlog.ParseTilePath(p)
			if err == nil && t.L > 63 {
				continue
			}
			emit("tile", ok(fmt.Sprintf("%d %d %d %d", t.H, t.L, t.N, t.W), err), p)
			db := pick([]string{"sum.golang.org", "sum.golang.google.cn", "off", keyA.verifier, keyC.verifier, "", " ", "x"}) + pick([]string{"", " https://h/x", " file:///x", " a b", "\t%zz"})
			emitGOSUMDB(mutate(db, []string{" ", "+", "/", "x", "\u2003", "#", "?", "@", "%"}))
		}
	}
}

func emitGOSUMDB(setting string) {
	if setting == "off" {
		emit("gosumdb", "off", setting)
		return
	}
	s := setting
	if s == "sum.golang.google.cn" {
		s = "sum.golang.org https://sum.golang.google.cn"
	}
	f := strings.Fields(s)
	if len(f) >= 1 && f[0] == "sum.golang.org" {
		f[0] = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
	}
	result, err := func() (string, error) {
		if len(f) == 0 || len(f) > 2 {
			return "", errors.New("fields")
		}
		v, err := note.NewVerifier(f[0])
		if err != nil {
			return "", err
		}
		u, err := url.Parse("https://" + v.Name())
		if err != nil || strings.HasSuffix(v.Name(), "/") || *u != (url.URL{Scheme: "https", Host: u.Host, Path: u.Path}) || u.Host == "" {
			return "", errors.New("name")
		}
		if len(f) == 2 {
			if _, err := url.Parse(f[1]); err != nil {
				return "", err
			}
			return v.Name() + " " + f[1], nil
		}
		return v.Name() + " -", nil
	}()
	emit("gosumdb", ok(result, err), setting)
}

// ---- sessions ----

// A database that can be asked for any of its past.
type database struct {
	records [][]byte
	hashes  []tlog.Hash
	mods    []string
}

func (d *database) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var list []tlog.Hash
	for _, i := range indexes {
		if i >= int64(len(d.hashes)) {
			return nil, errors.New("no such hash")
		}
		list = append(list, d.hashes[i])
	}
	return list, nil
}

func (d *database) add(mod, version string) {
	sum := b64(fmt.Appendf(nil, "%-32.32s", fmt.Sprint(mod, rng.Int63())))
	text := fmt.Appendf(nil, "%s %s h1:%s\n%s %s/go.mod h1:%s\n", mod, version, sum, mod, version, sum)
	new, err := tlog.StoredHashes(int64(len(d.records)), text, d)
	if err != nil {
		panic(err)
	}
	d.records = append(d.records, text)
	d.hashes = append(d.hashes, new...)
	d.mods = append(d.mods, mod+" "+version)
}

func (d *database) tree(n int) []byte {
	h, err := tlog.TreeHash(int64(n), d)
	if err != nil {
		panic(err)
	}
	return tlog.FormatTree(tlog.Tree{N: int64(n), Hash: h})
}

func (d *database) signed(n int, k keys) []byte { return sign(string(d.tree(n)), k.signer) }

func (d *database) tiles(n int, files map[string][]byte) {
	for _, t := range tlog.NewTiles(8, 0, int64(n)) {
		data, err := tlog.ReadTileData(t, d)
		if err != nil {
			panic(err)
		}
		files[t.Path()] = data
	}
}

// The other side of x/mod's client.
type ops struct {
	key, latest []byte
	files       map[string][]byte
}

func (o *ops) ReadRemote(path string) ([]byte, error) {
	data, is := o.files[path[1:]]
	if !is {
		return nil, errors.New("404")
	}
	return data, nil
}
func (o *ops) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return o.key, nil
	}
	return o.latest, nil
}
func (o *ops) WriteConfig(file string, old, new []byte) error {
	if !bytes.Equal(old, o.latest) {
		return sumdb.ErrWriteConflict
	}
	o.latest = new
	return nil
}
func (o *ops) ReadCache(string) ([]byte, error) { return nil, errors.New("nothing is kept") }
func (o *ops) WriteCache(string, []byte)        {}
func (o *ops) Log(string)                       {}
func (o *ops) SecurityError(string)             {}

func flip(b []byte) []byte {
	b = append([]byte{}, b...)
	if len(b) > 0 {
		b[rng.Intn(len(b))] ^= byte(1 << rng.Intn(8))
	}
	return b
}

func sessions(n int) {
	for i := 0; i < n; i++ {
		session(i)
	}
}

func session(nr int) {
	size := 1 + rng.Intn(40)
	if nr%20 == 0 {
		size = 250 + rng.Intn(300)
	}
	var d database
	for i := 0; i < size; i++ {
		d.add(fmt.Sprintf("a.b/%s%d", pick([]string{"m", "M"}), i), "v1.0.0")
	}
	// What was remembered, and the answers: each with a tree of its own time.
	o := &ops{key: []byte(keyA.verifier), files: map[string][]byte{}}
	sizes := map[int]bool{}
	own := map[string][]byte{} // tiles that x/mod's client, and not ours, reads of the remembered tree
	if rng.Intn(2) == 0 {
		n := 1 + rng.Intn(size)
		o.latest = d.signed(n, keyA)
		d.tiles(n, own)
	}
	served := &d
	if nr%5 == 4 { // another history from some record on
		served = &database{}
		from := rng.Intn(size)
		for i := 0; i < size; i++ {
			if i == from {
				served.add("x.y/z", "v1.0.0")
				continue
			}
			f := strings.Fields(d.mods[i])
			if i < from {
				text := d.records[i]
				new, _ := tlog.StoredHashes(int64(i), text, served)
				served.records, served.hashes, served.mods = append(served.records, text), append(served.hashes, new...), append(served.mods, d.mods[i])
			} else {
				served.add(f[0], f[1])
			}
		}
	}
	var asks []string
	for k := 1 + rng.Intn(3); k > 0; k-- {
		id := rng.Intn(size)
		n := id + 1 + rng.Intn(size-id)
		body, err := tlog.FormatRecord(int64(id), served.records[id])
		if err != nil {
			panic(err)
		}
		asks = append(asks, served.mods[id])
		esc := strings.ReplaceAll(strings.ReplaceAll(served.mods[id], "M", "!m"), " ", "@")
		if _, is := o.files["lookup/"+esc]; !is {
			o.files["lookup/"+esc] = append(body, served.signed(n, keyA)...)
			sizes[n] = true
		}
	}
	for n := range sizes {
		served.tiles(n, o.files)
	}
	if nr%7 == 0 { // narrow tiles are gone when the full one is there
		for _, name := range slices.Sorted(maps.Keys(o.files)) {
			if full, _, is := strings.Cut(name, ".p/"); is && o.files[full] != nil {
				delete(o.files, name)
			}
		}
	}
	tamper(o, asks, served)
	for name, data := range own {
		if o.files[name] == nil {
			o.files[name] = data
		}
	}
	emitSession(o, asks)
}

// Put one lie, or none, into what is served.
func tamper(o *ops, asks []string, d *database) {
	names := slices.Sorted(maps.Keys(o.files))
	name := pick(names)
	look := "lookup/" + strings.ReplaceAll(strings.ReplaceAll(pick(asks), "M", "!m"), " ", "@")
	switch rng.Intn(14) {
	case 0:
		o.files[name] = flip(o.files[name])
	case 1:
		o.files[look] = flip(o.files[look])
	case 2:
		delete(o.files, name)
	case 3:
		o.files[name] = append(o.files[name][:len(o.files[name]):len(o.files[name])], make([]byte, 1+rng.Intn(40))...)
	case 4:
		o.files[name] = o.files[name][:rng.Intn(len(o.files[name])+1)]
	case 5:
		o.latest = flip(o.latest)
	case 6: // the record of another module
		if other := pick(names); strings.HasPrefix(other, "lookup/") {
			o.files[look] = o.files[other]
		}
	case 7:
		text, _, _ := bytes.Cut(o.files[look], []byte("\n\n"))
		o.files[look] = append(append(text[:len(text):len(text)], "\n\n"...), d.signed(len(d.records), pick([]keys{keyB, keyC}))...)
		d.tiles(len(d.records), o.files)
	case 8:
		text, _, _ := bytes.Cut(o.files[look], []byte("\n\n"))
		o.files[look] = append(text[:len(text):len(text)], "\n\n"...) // no tree at all
	case 9:
		o.files[look] = bytes.Replace(o.files[look], []byte("h1:"), []byte("h1:A"), 1)
	}
}

func emitSession(o *ops, asks []string) {
	latest := string(o.latest)
	var pack strings.Builder
	for _, name := range slices.Sorted(maps.Keys(o.files)) {
		fmt.Fprintf(&pack, "%s %d\n%s", name, len(o.files[name]), o.files[name])
	}
	c := sumdb.NewClient(o)
	var result strings.Builder
	for _, ask := range asks {
		f := strings.Fields(ask)
		if o.files["lookup/"+strings.ReplaceAll(strings.ReplaceAll(ask, "M", "!m"), " ", "@")] == nil {
			result.WriteString("missing\n")
			continue
		}
		zip, err := c.Lookup(f[0], f[1])
		if err != nil && strings.Contains(err.Error(), "initializing") && strings.Contains(err.Error(), "checking tree") {
			return // it reads tiles of the remembered tree, which we believe without
		}
		if err != nil {
			if strings.Contains(err.Error(), sumdb.ErrSecurity.Error()) {
				result.WriteString("forked\n")
			} else {
				result.WriteString("bad\n")
			}
			break
		}
		mod, err := c.Lookup(f[0], f[1]+"/go.mod")
		if err != nil {
			panic(err)
		}
		first := func(lines []string) string {
			for _, l := range lines {
				if _, h, is := strings.Cut(l, " h1:"); is {
					return "h1:" + h
				}
			}
			return "-"
		}
		fmt.Fprintf(&result, "ok %s %s\n", first(zip), first(mod))
	}
	emit("sumdb", result.String(), string(o.key), latest, strings.Join(asks, "\n"), pack.String())
}
