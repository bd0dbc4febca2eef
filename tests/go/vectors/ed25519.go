package main

import (
	"crypto/ed25519"
	"encoding/hex"
	"math/big"
)

func init() { kinds["ed25519"] = signatures }

// Signatures, whole and damaged in the ways of Wycheproof's list, as crypto/ed25519 judges them.
func signatures(n int) {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	scalar := func(sig []byte, add *big.Int) {
		le := make([]byte, 32)
		for i := range le {
			le[i] = sig[63-i]
		}
		s := new(big.Int).Add(new(big.Int).SetBytes(le), add)
		if s.BitLen() > 256 {
			return
		}
		for i, b := range s.FillBytes(le) {
			sig[63-i] = b
		}
	}
	odd := []string{ // points of small order, numbers that are not reduced, y that is on no curve
		"0100000000000000000000000000000000000000000000000000000000000000", "0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080", "0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"0200000000000000000000000000000000000000000000000000000000000000", "5866666666666666666666666666666666666666666666666666666666666666",
	}
	for i := 0; i < n; i++ {
		seed := make([]byte, ed25519.SeedSize)
		rng.Read(seed)
		private := ed25519.NewKeyFromSeed(seed)
		public := append([]byte{}, private.Public().(ed25519.PublicKey)...)
		msg := make([]byte, rng.Intn(200))
		rng.Read(msg)
		sig := ed25519.Sign(private, msg)
		point, _ := hex.DecodeString(pick(odd))
		switch rng.Intn(12) {
		case 0:
			sig[rng.Intn(64)] ^= 1 << rng.Intn(8)
		case 1:
			public[rng.Intn(32)] ^= 1 << rng.Intn(8)
		case 2:
			msg = append(msg, 0)
		case 3:
			scalar(sig, order) // the same scalar, not reduced
		case 4:
			scalar(sig, new(big.Int).Neg(order))
		case 5:
			copy(public, point)
		case 6:
			copy(sig, point)
		case 7:
			copy(public, point)
			copy(sig, pick([][]byte{point, make([]byte, 32)}))
			copy(sig[32:], make([]byte, 32))
		case 8:
			copy(sig[32:], make([]byte, 32))
		case 9:
			copy(sig[32:], []byte{0xec, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14})
		}
		emit("verify", map[bool]string{true: "ok", false: "bad"}[ed25519.Verify(public, msg, sig)], hex.EncodeToString(public), hex.EncodeToString(msg), hex.EncodeToString(sig))
	}
}
