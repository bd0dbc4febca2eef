// Prints src/go/unicode_table.h: which code points are letters, which are printed, and how case folds, as Go's
// package unicode has it.
//
//	go run ./tables | clang-format-14 --style=file:../../.clang-format --assume-filename=x.h > ../../src/go/unicode_table.h
package main

import (
	"fmt"
	"unicode"
)

const maxRune = unicode.MaxRune

// The code points where a property begins or ends.
func edges(name, about string, is func(rune) bool) {
	fmt.Printf("/* %s */\nstatic const uint32_t %s[] = {", about, name)
	last := false
	for r := rune(0); r <= maxRune+1; r++ {
		if now := r <= maxRune && is(r); now != last {
			fmt.Printf("0x%x, ", r)
			last = now
		}
	}
	fmt.Print("};\n\n")
}

// The least code point that is equal but for case; a small letter for the capital ones of ASCII.
func fold(r rune) rune {
	least := r
	for s := unicode.SimpleFold(r); s != r; s = unicode.SimpleFold(s) {
		least = min(least, s)
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}

type run struct{ lo, hi, stride, delta rune }

func folds() {
	var runs []run
	for r := rune(0); r <= maxRune; r++ {
		d := fold(r) - r
		if d == 0 {
			continue
		}
		if n := len(runs); n > 0 {
			l := &runs[n-1]
			step := r - l.hi
			if l.delta == d && step <= 2 && (l.lo == l.hi || l.stride == step) {
				l.hi, l.stride = r, step
				continue
			}
		}
		runs = append(runs, run{r, r, 1, d})
	}
	fmt.Print("/* Every stride-th code point from first to last is equal to the one delta further, but for case. */\n")
	fmt.Print("static const FoldRun FOLDS[] = {")
	for _, x := range runs {
		fmt.Printf("{0x%x, 0x%x, %d, %d}, ", x.lo, x.hi, x.stride, x.delta)
	}
	fmt.Print("};\n\n")
}

func main() {
	fmt.Printf("/*\n * go/unicode_table.h - made by tests/go/tables from Unicode %s as Go has it; see go/unicode.c.\n */\n", unicode.Version)
	fmt.Print("#ifndef GO_UNICODE_TABLE_H\n#define GO_UNICODE_TABLE_H\n\n#include <stdint.h>\n\n")
	fmt.Print("typedef struct FoldRun {\nuint32_t first, last, stride;\nint32_t delta;\n} FoldRun;\n\n")
	edges("LETTERS", "Letters begin at the first, third, ... number and end before the second, fourth, ...", unicode.IsLetter)
	edges("PRINTED", "What unicode.IsPrint lets stand, in the same way.", unicode.IsPrint)
	folds()
	fmt.Print("#endif\n")
}
