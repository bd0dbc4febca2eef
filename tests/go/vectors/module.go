package main

import (
	"crypto/sha256"
	"fmt"
	"go/version"
	"strings"
	"unicode"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

func init() { kinds["module"] = modules }

var pathSeeds = []string{
	"golang.org/x/mod", "github.com/BurntSushi/toml", "gopkg.in/yaml.v3", "gopkg.in/check.v1", "gopkg.in/a.v0",
	"gopkg.in/src-d/go-git.v4-unstable", "gopkg.in/x.v", "example.com/a/v2", "example.com/a/v1", "example.com/a/v02",
	"example.com/a/v2.1", "example.com/v10", "example.com/a.v2", "rsc.io/quote/v3", "a.b/con", "a.b/COM1.x", "a.b/lpt9",
	"a.b/x~1", "a.b/x~1.go", "a.b/x~", "a.b/.hidden", "a.b/x..y", "a.b/x.", "a.b/..", "a.b/...", "-a.b/x", "a.b//x",
	"a.b/", "/a.b", "localhost/x", "A.b/x", "a_b.c/x", "a.b/ü", "a.b/K", "a.b/c++", "go.opentelemetry.io/otel/trace",
	"github.com/Azure/go-autorest/autorest/azure/auth", "k8s.io/api", "", "v2", "x/v2", "example.com/x/v2/v3", "a.b/v", "a.b/v/v",
	"github.com/!azure/x", "gopkg.in/", "gopkg.in/.v1", "gopkg.in/v1", "a.b/nul", "a.b/nul.txt", "a.b/COM0", "a.b/com\u00b9",
}

var pathPieces = []string{
	"/", ".", "..", "-", "_", "~", "~1", "~9", "v", "/v2", "/v1", ".v3", "/v0", "0", "1", "9", "a", "Z", "A", "!", "!a", "!B", "@",
	"+", " ", "\\", ":", "*", "?", "[", "]", "\"", "'", "<", "|", "ä", "é", "ſ", "K", "世", "\u0301", "\u00a0", "\xff", "\xe4\xb8", "\x00",
	"\n", "\t", "\x7f", "con", "AUX", "com1", "LPT9", "gopkg.in/", "-unstable", "vendor", "go.mod", "𝒜", "\u2160", "\ufffd", "\U0010ffff",
}

var versionSeeds = []string{
	"v1.2.3", "v0.0.0", "v1", "v1.2", "v2.0.0+incompatible", "v1.2.3-pre", "v1.2.3-pre.1", "v1.2.3-pre.01", "v1.2.3+meta",
	"v1.2.3-0.20190101000000-abcdefabcdef", "v0.0.0-20190101000000-abcdefabcdef", "v1.2.3-pre.0.20190101000000-abcdefabcdef",
	"v2.0.0-20190101000000-abcdefabcdef+incompatible", "v01.2.3", "v1.02.3", "1.2.3", "master", "v1.2.3-", "v1.2.3+", "v1.2.3-a..b",
	"v1.2.3-0", "v1.2.3-00", "v1.2.3--", "v10.20.30", "v1.2.3-alpha.beta", "v1.2.3-rc.11", "v1.2.3-rc.2", "v", "", "v1.", "v1.2.",
	"v99999999999999999999999.1.2", "v0.0.1-go1.22.12.linux-amd64", "v1.2.3-0.2019010100000-abc", "v3.0.0-20190101000000-abc.d",
	"v1.2.3-20190101000000-abcdef", "v1.0.0-20190101000000-a_b", "v1.2.3+incompatible.x", "v1.2.3-x+incompatible", "v1.2.3.4",
}

var versionPieces = []string{
	".", "-", "+", "0", "1", "9", "00", "v", "a", "Z", "rc", "+incompatible", "-0.", ".0.", "20190101000000", "-abcdefabcdef", "_", "!", "/",
	"x", "~", " ", "é", "\xff", "\x00",
}

var releaseSeeds = []string{
	"1.22", "1.21", "1.20", "1.21rc1", "1.21.0", "1.21.10", "1", "1.2.3", "1.21beta", "1.9", "1.21rc", "2", "0.1", "1.021", "1.21.0rc1", "",
	"x", "1.", "1.21.", "go1.21", "1.x", "1.100", "0",
}

var globSeeds = []string{
	"golang.org", "*", "*.corp.example.com", "github.com/a/*", "github.com/[a-m]*/x", "a.b/c/,x.y", ",,", "[", "a.b/[", "a\\.b", "?.b/x",
	"*/*", "*/*/*", "github.com/BurntSushi", "example.com/a/v2",
}

func ok(s string, err error) string {
	if err != nil {
		return "bad"
	}
	return "ok " + s
}

func unicodeTables() {
	dump := func(f func(rune) string) string {
		h := sha256.New()
		for r := rune(0); r <= unicode.MaxRune; r++ {
			h.Write([]byte(f(r)))
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	emit("unicode", dump(func(r rune) string { return fmt.Sprint(unicode.IsLetter(r))[:1] }), "letter")
	emit("unicode", dump(func(r rune) string { return fmt.Sprint(unicode.IsPrint(r))[:1] }), "print")
	emit("unicode", dump(func(r rune) string {
		least := r
		for s := unicode.SimpleFold(r); s != r; s = unicode.SimpleFold(s) {
			least = min(least, s)
		}
		if 'A' <= least && least <= 'Z' {
			least += 'a' - 'A'
		}
		return fmt.Sprintf("%x,", least)
	}), "fold")
}

func modules(n int) {
	unicodeTables()
	for i := 0; i < n; i++ {
		p := mutate(pick(pathSeeds), pathPieces)
		v := mutate(pick(versionSeeds), versionPieces)
		w := mutate(pick(versionSeeds), versionPieces)
		switch i % 16 {
		case 0, 1:
			emit("check_path", verdict(module.CheckPath(p)), p)
		case 2:
			emit("check_import", verdict(module.CheckImportPath(p)), p)
		case 3:
			emit("check_file", verdict(module.CheckFilePath(p)), p)
		case 4:
			s, err := module.EscapePath(p)
			emit("escape_path", ok(s, err), p)
			s, err = module.UnescapePath(p)
			emit("unescape_path", ok(s, err), p)
		case 5:
			s, err := module.EscapeVersion(v)
			emit("escape_version", ok(s, err), v)
			s, err = module.UnescapeVersion(v)
			emit("unescape_version", ok(s, err), v)
		case 6:
			if s, err := module.EscapePath(pick(pathSeeds)); err == nil {
				s = mutate(s, pathPieces)
				t, err := module.UnescapePath(s)
				emit("unescape_path", ok(t, err), s)
			}
		case 7:
			_, major, good := module.SplitPathVersion(p)
			if good {
				emit("major", "ok "+major, p)
			} else {
				emit("major", "bad", p)
			}
		case 8:
			g := mutate(pick(globSeeds)+","+pick(globSeeds), []string{"*", "?", "[", "]", "[a-z]", "/", ",", "\\", "a", "."})
			emit("private", fmt.Sprint(module.MatchPrefixPatterns(g, p)), g, p)
		case 9:
			emit("canonical", module.CanonicalVersion(v), v)
			emit("is_canonical", fmt.Sprint(v != "" && module.CanonicalVersion(v) == v), v)
		case 10, 11:
			if rng.Intn(2) == 0 {
				w = mutate(v, versionPieces)
			}
			emit("compare", fmt.Sprint(semver.Compare(v, w)), v, w)
		case 12:
			emit("pseudo", fmt.Sprint(module.IsPseudoVersion(v)), v)
		case 13:
			if _, major, good := module.SplitPathVersion(p); good {
				emit("fits", fmt.Sprint(module.MatchPathMajor(v, major)), v, major)
			}
		case 14:
			emit("check", verdict(module.Check(p, v)), p, v)
		case 15:
			x := mutate(pick(releaseSeeds), []string{".", "0", "1", "2", "rc", "beta", "a", "_"})
			y := mutate(pick(releaseSeeds), []string{".", "0", "1", "2", "rc", "beta", "a", "_"})
			if !strings.Contains(x+y, "-") {
				emit("release", fmt.Sprint(version.IsValid("go"+x)), x)
				emit("release_compare", fmt.Sprint(version.Compare("go"+x, "go"+y)), x, y)
			}
		}
	}
}
