package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/sumdb/dirhash"
)

func init() { kinds["modfile"] = modfiles }

var modLines = []string{
	"module example.com/m", "module \"example.com/m\"", "module `example.com/m`", "module (", "module example.com/m // c", "go 1.22", "go 1.22.3", "go 1.21rc2", "go 1.16",
	"go 1", "go v1.22", "go 1.22.x", "go \"1.22\"", "toolchain go1.22.3", "toolchain default", "toolchain go2", "require a.b/c v1.2.3", "require a.b/c v1.2.3 // indirect",
	"require a.b/c v1.2.3 // indirect; more", "require a.b/c v1.2.3 // indirectly", "require a.b/c/v2 v2.0.0", "require a.b/c/v2 v1.0.0", "require a.b/c v2.0.0+incompatible",
	"require a.b/c v2.0.0", "require a.b/c v1", "require a.b/c v1.2.3+meta", "require a.b/c master", "require \"a.b/c\" \"v1.2.3\"", "require gopkg.in/yaml.v3 v3.0.1", "require (",
	"require (// c", "require ( // indirect", "require ()", "require ( )", "require ( ) x", "require ( x", "\ta.b/d v0.0.0-20190101000000-abcdefabcdef // indirect", "\ta.b/e v1.0.0", ")", ") // indirect",
	") x", "", "// comment", "\t// comment", "/* no */", "replace a.b/c => ../local", "replace a.b/c v1.2.3 => d.e/f v1.0.0", "replace a.b/c => d.e/f v1.0.0", "replace a.b/c => d.e/f",
	"replace a.b/c => d.e/f@v1.0.0", "replace a.b/c => ./x v1.0.0", "replace a.b/c => .\\x", "replace a.b/c => C:\\x", "replace a.b/c v1 => \"./with space\"", "replace (", "\ta.b/c => /abs",
	"exclude a.b/c v1.2.4", "exclude (", "retract v1.0.0", "retract [v1.0.0, v1.1.0]", "retract [v1.0.0,v1.1.0] // why", "retract (", "\t[v1.0.0, v1.1.0]", "retract [", "retract v1.0.0 x",
	"tool a.b/c/cmd/x", "tool (", "\ta.b/c/cmd/y", "ignore ./x", "ignore (", "godebug default=go1.21", "godebug (", "\tpanicnil=1", "godebug x", "godebug a=\"b\"", "use ./m", "use (", "\t./n", "use",
	"unknown x y", "unknown (", "\tx y", "module ä.b/c", "module a\xff", "require a.b/c v1.2.3 //indirect", "require a.b/c v1.2.3//indirect", "\"quoted\" x", "x \"open", "x `open", "x 'y'", "module \"\\x61.b\\u00e4\"",
	"module \"a\\q\"", "module \"\\ud800\"", "module \"\xff\"", "module \"\\400\"", "go 1.22 1.23", "toolchain", "require", "require a.b/c", "replace", "replace a.b/c =>", "replace => x", "retract", "tool", "[", "]", "{", ",",
	"module", "go", "require [a.b/c v1.0.0]", "\u00a0x", "x\u00a0y", "x\vy", "\x00", "// \x00", "a\u200bb", "require a.b/c v1.0.0 // indirect x", "require a.b/c v1.0.0 //\tindirect\r", "module a/v1", "require a.b/v1 v1.0.0",
}

var modPieces = []string{" ", "\t", "\n", "\r\n", "\r", "(", ")", "[", "]", ",", "{", "}", "\"", "`", "'", "//", "// indirect", "=>", "v1.0.0", "a.b/c", "x", "\\x41", "\\n", "\xff", "ä", "\u00a0", ";", "=", "/", "@"}

func dumpMod(f *modfile.File) string {
	var b strings.Builder
	if f.Module != nil && f.Module.Mod.Path != "" {
		fmt.Fprintf(&b, "module %s\n", f.Module.Mod.Path)
	}
	if f.Go != nil {
		fmt.Fprintf(&b, "go %s\n", f.Go.Version)
	}
	if f.Toolchain != nil {
		fmt.Fprintf(&b, "toolchain %s\n", f.Toolchain.Name)
	}
	for _, r := range f.Require {
		fmt.Fprintf(&b, "require %s %s %t %d\n", r.Mod.Path, r.Mod.Version, r.Indirect, r.Syntax.Start.Line)
	}
	dumpReplace(&b, f.Replace)
	for _, x := range f.Exclude {
		fmt.Fprintf(&b, "exclude %s %s\n", x.Mod.Path, x.Mod.Version)
	}
	for _, x := range f.Tool {
		fmt.Fprintf(&b, "tool %s\n", x.Path)
	}
	for _, x := range f.Ignore {
		fmt.Fprintf(&b, "ignore %s\n", x.Path)
	}
	dumpGodebug(&b, f.Godebug)
	return b.String()
}

func dumpReplace(b *strings.Builder, list []*modfile.Replace) {
	for _, r := range list {
		fmt.Fprintf(b, "replace %s %s => %s %s %d\n", r.Old.Path, r.Old.Version, r.New.Path, r.New.Version, r.Syntax.Start.Line)
	}
}

func dumpGodebug(b *strings.Builder, list []*modfile.Godebug) {
	for _, x := range list {
		fmt.Fprintf(b, "godebug %s=%s\n", x.Key, x.Value)
	}
}

func dumpWork(f *modfile.WorkFile) string {
	var b strings.Builder
	if f.Go != nil {
		fmt.Fprintf(&b, "go %s\n", f.Go.Version)
	}
	if f.Toolchain != nil {
		fmt.Fprintf(&b, "toolchain %s\n", f.Toolchain.Name)
	}
	dumpReplace(&b, f.Replace)
	dumpGodebug(&b, f.Godebug)
	for _, x := range f.Use {
		fmt.Fprintf(&b, "use %s\n", x.Path)
	}
	return b.String()
}

func modResult(text string, err error) string {
	if err == nil {
		return "ok\n" + text
	}
	list, is := err.(modfile.ErrorList)
	if !is {
		panic(err)
	}
	return fmt.Sprintf("bad %d", list[0].Pos.Line)
}

// The lines of a go.sum as cmd/go's readGoSum takes them, sorted as ours are.
func sumResult(text string) string {
	const empty = "h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY="
	var b strings.Builder
	for i, line := range strings.Split(text, "\n") {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 3 {
			return fmt.Sprintf("bad %d", i+1)
		}
		if f[2] != empty {
			fmt.Fprintf(&b, "%d %s %s %s\n", i+1, f[0], f[1], f[2])
		}
	}
	return "ok\n" + b.String()
}

func ending() string {
	return pick([]string{"\n", "\n", "\n", "\n", "\r\n", " // c\n", " // indirect\n", ""})
}

func anyFile() string {
	var text string
	for k := rng.Intn(9); k >= 0; k-- {
		text += pick(modLines) + ending()
		if rng.Intn(6) == 0 {
			text += ")\n"
		}
	}
	return text
}

// A file of lines that are right, and blocks of them.
func goodFile(work bool) string {
	once := []string{"", "go 1.22", "go 1.21rc2", "toolchain go1.22.3", "toolchain default", "// c"}
	verbs := map[string][]string{
		"require": {"a.b/c v1.2.3", "a.b/c/v2 v2.0.0 // indirect", "\"a.b/c\" v1", "gopkg.in/yaml.v3 v3.0.1 // indirect; x", "a.b/c v2.0.0+incompatible", "x v0.0.0-20190101000000-abcdefabcdef"},
		"exclude": {"a.b/c v1.2.4", "a.b/c v1.2+x"},
		"replace": {"a.b/c => ../local", "a.b/c v1.2.3 => d.e/f v1.0.0", "a.b/c => \"/a b\"", "a.b/c v1 => ./x"},
		"retract": {"v1.0.0", "[v1.0.0, v1.1.0]", "[v1, v1.1] // why"},
		"tool":    {"a.b/c/cmd/x", "\"x\\u00e4\""},
		"ignore":  {"./x", "node_modules"},
		"godebug": {"default=go1.21", "panicnil=1"},
		"use":     {"./m", "\"../a b\"", "."},
	}
	names := []string{"require", "exclude", "replace", "retract", "tool", "ignore", "godebug", "require", "replace"}
	if work {
		names = []string{"use", "replace", "godebug"}
	} else {
		once = append(once, "module example.com/m", "module \"example.com/m\" // Deprecated: x", "module (\n\ta.b/c\n)")
	}
	var text string
	rng.Shuffle(len(once), func(i, j int) { once[i], once[j] = once[j], once[i] })
	used := map[string]bool{}
	for _, line := range once[:rng.Intn(len(once))] {
		if word, _, _ := strings.Cut(line, " "); !used[word] {
			used[word] = true
			text += line + "\n"
		}
	}
	for k := rng.Intn(6); k > 0; k-- {
		verb := pick(names)
		if rng.Intn(2) == 0 {
			text += verb + " " + pick(verbs[verb]) + ending() + "\n"
			continue
		}
		text += verb + pick([]string{" (\n", "(// c\n", " ( \r\n\n"})
		for j := rng.Intn(4); j > 0; j-- {
			text += pick([]string{"\t", " ", "", "// c\n\t", "\n"}) + pick(verbs[verb]) + ending() + "\n"
		}
		text += ")" + ending() + "\n"
	}
	return text
}

func modfiles(n int) {
	sums := []string{
		"golang.org/x/mod v0.43.0 h1:MFuq5J6s35W9D3IjkwyWc9vHh0nENOrt5K8Iof4ofmg=", "golang.org/x/mod v0.43.0/go.mod h1:4ec1JnuyBz5+FIVhg86UsA39YG8BpnrZdJYSNHmGzHY=",
		"a.b/c v1.0.0/go.mod h1:G7mAYYxgmS0lVkHyy2hEOLQCFB0DlQFTMLWggykrydY=", "", " ", "a.b/c v1.0.0", "x", "a.b/c v1.0.0 h2:x", "a\u00a0b c d", "a.b/c /go.mod h1:x", "a b c\r",
	}
	for i := 0; i < n; i++ {
		text := anyFile()
		if rng.Intn(2) == 0 {
			text = goodFile(i%5 == 3)
		}
		if rng.Intn(3) == 0 {
			text = mutate(text, modPieces)
		}
		if strings.Contains(text, "\\\n") || strings.Contains(text, "\\x00") || strings.Contains(text, "\\000") || strings.Contains(text, "\\u0000") {
			continue // an escaped newline, and NULs in names: refused by us
		}
		switch i % 5 {
		case 0, 1:
			f, err := modfile.Parse("m", []byte(text), nil)
			if err != nil {
				emit("mod", modResult("", err), text)
			} else {
				emit("mod", modResult(dumpMod(f), nil), text)
			}
		case 2:
			f, err := modfile.ParseLax("m", []byte(text), nil)
			if err != nil {
				emit("dep", modResult("", err), text)
			} else {
				emit("dep", modResult(dumpMod(f), nil), text)
			}
		case 3:
			f, err := modfile.ParseWork("m", []byte(text), nil)
			if err != nil {
				emit("work", modResult("", err), text)
			} else {
				emit("work", modResult(dumpWork(f), nil), text)
			}
		case 4:
			h, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(text))), nil })
			if err != nil {
				panic(err)
			}
			emit("h1", h, text)
			var sum string
			for k := rng.Intn(6); k >= 0; k-- {
				sum += pick(sums) + "\n"
			}
			sum = mutate(sum, []string{" ", "\n", "x", "/go.mod", "\u2003", "\xff", "\t"})
			emit("sum", sumResult(sum), sum)
		}
	}
}
