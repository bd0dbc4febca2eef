// Makes cases for tests/unit/govectors.h: inputs, and what the Go project's own packages say of them.
//
//	go run ./vectors KIND N [SEED] > ../vectors/go/KIND.jsonl
//
// Those checked in: module 1500, settings 1200, goenv 300 (asks the go command), modfile 1200, zip 420, note 1000, sumdb 90,
// answer 600, ed25519 500. sumgolang.jsonl is what sum.golang.org served.
//
// One JSON object a line: `op`, `in` (arguments) and `out`; all texts but `op` are in hex when `x` is true.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

type vector struct {
	Op  string   `json:"op"`
	In  []string `json:"in"`
	Out string   `json:"out"`
	X   bool     `json:"x,omitempty"`
}

var (
	rng  *rand.Rand
	out  = bufio.NewWriter(os.Stdout)
	seen = map[string]bool{}
)

func emit(op, result string, in ...string) {
	v := vector{Op: op, In: append([]string{}, in...), Out: result}
	for _, s := range append(in, result) {
		v.X = v.X || !utf8.ValidString(s) || strings.ContainsRune(s, 0)
	}
	for i := range v.In {
		if v.X {
			v.In[i] = hex.EncodeToString([]byte(v.In[i]))
		}
	}
	if v.X {
		v.Out = hex.EncodeToString([]byte(result))
	}
	var line strings.Builder
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err)
	}
	if !seen[line.String()] {
		seen[line.String()] = true
		out.WriteString(line.String())
	}
}

func verdict(err error) string {
	if err != nil {
		return "bad"
	}
	return "ok"
}

func pick[T any](list []T) T { return list[rng.Intn(len(list))] }

// A text near a seed: some bytes or pieces put in, taken out or doubled.
func mutate(s string, pieces []string) string {
	for n := rng.Intn(4); n > 0; n-- {
		at := rng.Intn(len(s) + 1)
		switch rng.Intn(5) {
		case 0, 1:
			s = s[:at] + pick(pieces) + s[at:]
		case 2:
			if to := at + rng.Intn(4); to <= len(s) {
				s = s[:at] + s[to:]
			}
		case 3:
			if to := at + rng.Intn(4); to <= len(s) {
				s = s[:at] + pick(pieces) + s[to:]
			}
		case 4:
			if to := at + rng.Intn(6); to <= len(s) {
				s = s[:to] + s[at:to] + s[to:]
			}
		}
	}
	return s
}

var kinds = map[string]func(n int){}

func main() {
	n, seed := 0, 1
	if len(os.Args) > 2 {
		n, _ = strconv.Atoi(os.Args[2])
	}
	if len(os.Args) > 3 {
		seed, _ = strconv.Atoi(os.Args[3])
	}
	if len(os.Args) < 3 || kinds[os.Args[1]] == nil || n <= 0 {
		fmt.Fprintln(os.Stderr, "usage: vectors KIND N [SEED]")
		os.Exit(2)
	}
	rng = rand.New(rand.NewSource(int64(seed)))
	kinds[os.Args[1]](n)
	out.Flush()
}
