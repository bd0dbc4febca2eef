package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func init() {
	kinds["settings"] = settings
	kinds["goenv"] = goenv
}

var urlSeeds = []string{
	"https://proxy.golang.org", "http://127.0.0.1:8080/x", "file:///go/pkg/mod/cache/download", "file:/x", "file://host/x", "file:///x?y", "file:///x#f",
	"https://user:pass@host/p", "https://user@host", "http://[::1]:80/x", "http://[fe80::1%25eth0]/", "goproxy.cn", "host:8080", "host/path", "/abs/path",
	"ftp://x", "https://x/a%20b", "https://x/%zz", "https://x:port/", "mailto:x", "x://y", "://x", "https://", "https:x", "https:/x", "*", "http://a:1:2/",
	"https://x/y?token=1", "sum.golang.org", "https://h/a%2fb", "HTTPS://X.Y", "https://u:p%40@h", "https://h\u00e4.x/", "https://h/ä", "https://a b/", "file:///a%20b", "file:///",
}

var urlPieces = []string{
	"/", ":", "?", "#", "@", "%", "%20", "%41", "%25", "%zz", "%e4", "[", "]", "::1", ".", "a", "A", "1", " ", "\t", "\x7f", "ä", "\xff", "&", "=", "+", "-", "_", "~",
	"!", "$", "'", "(", ")", "*", ";", "<", ">", "\"", "\\", "^", "`", "{", "|", "}", "//", "http://", "https://", "file://", "%2f", "%2F", "u:p@", "x", "%25eth",
}

func describeURL(text string, u *url.URL) string {
	esc := u.RawPath
	host := u.Host
	if strings.Contains(text, "%") {
		host = "-"
	}
	return fmt.Sprintf("%s|%s|%s|%t%t%t%t%t%t", u.Scheme, host, u.Path, u.User != nil, u.RawQuery != "" || u.ForceQuery, u.Fragment != "", u.Opaque != "", u.OmitHost, esc != "")
}

// What cmd/go's proxyList makes of a setting.
func proxyList(goproxy string) (string, error) {
	var list []string
	for goproxy != "" {
		word, sep := goproxy, ""
		if i := strings.IndexAny(goproxy, ",|"); i >= 0 {
			word, sep, goproxy = goproxy[:i], goproxy[i:i+1], goproxy[i+1:]
		} else {
			goproxy = ""
		}
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		if word == "off" || word == "direct" {
			list = append(list, word)
			break
		}
		if strings.ContainsAny(word, ".:/") && !strings.Contains(word, ":/") && !filepath.IsAbs(word) {
			word = "https://" + word
		}
		u, err := url.Parse(word)
		if err != nil {
			return "", err
		}
		switch u.Scheme {
		case "http", "https":
		case "file":
			if *u != (url.URL{Scheme: u.Scheme, Path: u.Path, RawPath: u.RawPath}) {
				return "", errors.New("non-path elements")
			}
		default:
			return "", errors.New("scheme")
		}
		list = append(list, word+map[bool]string{true: " any"}[sep == "|"])
	}
	if len(list) == 0 {
		return "", errors.New("no entries")
	}
	return strings.Join(list, "\n"), nil
}

func settings(n int) {
	words := append([]string{"direct", "off", "", " ", "Direct", "noproxy", "\u00a0off\u2003"}, urlSeeds...)
	for i := 0; i < n; i++ {
		s := mutate(pick(urlSeeds), urlPieces)
		if strings.Contains(s, "%00") {
			continue
		}
		switch i % 4 {
		case 0, 1:
			u, err := url.Parse(s)
			if err != nil {
				emit("url", "bad", s)
			} else {
				emit("url", "ok "+describeURL(s, u), s)
			}
		case 2:
			list := mutate(pick(words)+pick([]string{",", "|", " , ", ",,"})+pick(words)+pick([]string{"", ",", "|direct", ",off", ",direct,x"}), []string{",", "|", " "})
			l, err := proxyList(list)
			emit("proxy_list", ok(l, err), list)
		case 3:
			if u, err := url.Parse(s); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Opaque == "" && u.RawPath == "" && u.Host != "" {
				p := "github.com/!burnt!sushi/toml/@v/v1.0.0+incompatible.info"
				j := *u
				j.Path = strings.TrimSuffix(j.Path, "/") + "/" + p
				j.RawPath = strings.TrimSuffix(j.RawPath, "/") + "/" + strings.ReplaceAll(url.PathEscape(p), "%2F", "/")
				j.Fragment = ""
				if t, err := url.Parse(s); err == nil && strings.HasPrefix(t.String(), s) && !u.ForceQuery {
					emit("proxy_url", j.String(), s, p)
				}
			}
		}
	}
}

// Cases for which the go command itself is asked: what holds of environment, user's file and GOROOT's.
func goenv(n int) {
	dir, err := os.MkdirTemp("", "goenv")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	names := []string{"GOPROXY", "GOSUMDB", "GOPRIVATE", "GONOPROXY", "GONOSUMDB", "GOINSECURE", "GOFLAGS", "GOCACHE", "GOMODCACHE", "GOPATH"}
	values := []string{"", "x", "off", "/a/b", "a.b/c", "https://p,direct", "/p:/q", "/a/../b", " x ", "x\r", "/c", "-mod=mod"}
	lines := []string{"# comment", "", "lower=x", "NOEQUALS", " GOPROXY=indented", "=x", "GOPROXY", "Z=1", "GOPROXY=a=b", "\x00GOSUMDB=x"}
	text := func() string {
		var b strings.Builder
		for k := rng.Intn(6); k > 0; k-- {
			if rng.Intn(3) == 0 {
				b.WriteString(pick(lines))
			} else {
				b.WriteString(pick(names) + "=" + pick(values))
			}
			b.WriteString("\n")
		}
		return strings.TrimSuffix(b.String(), pick([]string{"\n", "x"}))
	}
	for i := 0; i < n; i++ {
		user, root := text(), text()
		os.WriteFile(dir+"/user", []byte(user), 0o666)
		os.WriteFile(dir+"/go.env", []byte(root), 0o666)
		env := []string{"HOME=" + pick([]string{"/h", "/h/", "/root", "rel", ""})}
		for _, name := range append(names, "XDG_CACHE_HOME") {
			if rng.Intn(4) == 0 {
				env = append(env, name+"="+pick(values))
			}
		}
		cmd := exec.Command("go", append([]string{"env", "-json"}, names...)...)
		cmd.Env = append([]string{"GOROOT=" + dir, "GOENV=" + dir + "/user", "PATH=" + os.Getenv("PATH"), "GO111MODULE=on", "GOTOOLCHAIN=local"}, env...)
		cmd.Dir = dir
		text, err := cmd.Output()
		got := map[string]string{}
		if err != nil || json.Unmarshal(text, &got) != nil {
			continue // settings that stop the go command
		}
		if !filepath.IsAbs(got["GOMODCACHE"]) {
			got["GOMODCACHE"] = "" // every command that uses it fails
		}
		if !filepath.IsAbs(got["GOCACHE"]) {
			got["GOCACHE"] = "off"
		}
		var out []string
		for _, name := range names[:9] {
			out = append(out, name+"="+got[name])
		}
		emit("settings", strings.Join(out, "\n"), strings.Join(env, "\n"), user, root)
	}
}
