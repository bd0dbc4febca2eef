package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

func init() { kinds["answer"] = answers }

// What a proxy tells of versions, as cmd/go reads it.
func answers(n int) {
	times := []string{
		"2024-01-15T10:20:30Z", "2024-02-29T23:59:59.999999999Z", "2023-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "2024-01-15T10:20:30+01:00",
		"2024-01-15T10:20:30-23:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2024-01-15 10:20:30Z", "2024-13-01T00:00:00Z", "2024-01-32T00:00:00Z", "2024-01-15T24:00:00Z",
		"2024-01-15T10:20:60Z", "2024-01-15T10:20:30", "", "2024-01-15T10:20:30.Z", "2024-1-15T10:20:30Z", "2024-01-15T10:20:30+0100", "2024-01-15T10:20:30z", "2024-04-31T00:00:00Z",
	}
	texts := []string{
		`{"Version":"v1.0.0","Time":%q}`, `{"Version":"v1.0.0"}`, `{"version":"v1.0.0","TIME":%q,"Origin":{"VCS":"git"}}`, `{"Version":"v1.0.0","Time":null}`, `{"Version":5}`, `{"Time":%q}`,
		`{"Version":"master","Time":%q}`, `["v1.0.0"]`, `null`, ``, `{"Version":"v1.0.0-0.20240115102030-abcdefabcdef","Time":%q}`, `{"Version":"v1.0.0","Time":1}`, ` {"Version" : "v1.0.0" , "Time":%q } `,
	}
	lines := []string{"v1.0.0", "v1.1.0-pre", "v0.0.0-20240115102030-abcdefabcdef", "v2.0.0+incompatible", "master", "", " v1.2.0 2024-01-15T10:20:30Z", "v1.0.0 x", "v1", "\tv3.0.0\r", "v1.0.0\x00"}
	for i := 0; i < n; i++ {
		text := pick(texts)
		if strings.Contains(text, "%q") {
			text = fmt.Sprintf(text, mutate(pick(times), []string{"0", "1", "9", ":", "-", "T", "Z", ".", "+", " "}))
		}
		if rng.Intn(4) == 0 {
			text = mutate(text, []string{"{", "}", ",", ":", "\"", " ", "x", "[", "null"})
		}
		var info struct {
			Version string
			Time    time.Time
		}
		var raw map[string]any
		err := json.Unmarshal([]byte(text), &info)
		if err != nil || !semver.IsValid(info.Version) {
			emit("info", "bad", text)
		} else if json.Unmarshal([]byte(text), &raw); len(raw) >= strings.Count(text, "\":") {
			at := "-"
			if !info.Time.IsZero() {
				at = fmt.Sprint(info.Time.Unix())
			}
			emit("info", "ok "+info.Version+" "+at, text)
		}
		var list string
		for k := rng.Intn(6); k > 0; k-- {
			list += mutate(pick(lines), []string{"v", ".", " ", "-"}) + "\n"
		}
		var kept []string
		for _, line := range strings.Split(list, "\n") {
			if f := strings.Fields(line); len(f) >= 1 && semver.IsValid(f[0]) && !module.IsPseudoVersion(f[0]) {
				kept = append(kept, f[0])
			}
		}
		emit("list", strings.Join(kept, " "), list)
	}
}
