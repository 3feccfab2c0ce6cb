package presence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// somePresences makes presences of n keys.
func somePresences(n int) Presences {
	p := Presences{}
	for i := range n {
		for j := range 1 + i%2 {
			p.add(fmt.Sprintf("k%05d", i), newMeta(fmt.Sprintf("r%d.%d", i, j), "", []byte(`{"name":"somebody"}`)))
		}
	}
	return p
}

func TestPartsMakeTheWhole(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 100, 1000} {
		for _, limit := range []int{1, 60, 200, 4096, 1 << 20} {
			whole := somePresences(n)
			again := Presences{}
			parts := whole.Parts(limit)
			for _, part := range parts {
				if len(part) > limit+200 {
					t.Fatalf("%d keys, limit %d: a part has %d bytes", n, limit, len(part))
				}
				p, err := ParsePresences(part)
				if err != nil {
					t.Fatal(err)
				}
				for key, metas := range p {
					if again[key] != nil {
						t.Fatalf("key %s is in two parts", key)
					}
					again[key] = metas
				}
			}
			if !bytes.Equal(again.AppendJSON(nil), whole.AppendJSON(nil)) {
				t.Fatalf("%d keys, limit %d: the parts make something else", n, limit)
			}
			if limit == 1<<20 && len(parts) != 1 {
				t.Fatalf("%d parts where one would do", len(parts))
			}
		}
	}
}

func TestSplitKeepsKeysWhole(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		d := Diff{Topic: "room:1", Joins: Presences{}, Leaves: Presences{}}
		for i := range r.IntN(40) {
			key := fmt.Sprintf("k%d", i)
			if r.IntN(3) > 0 {
				d.Joins.add(key, newMeta("j"+key, "", []byte(`{}`)))
			}
			if r.IntN(3) > 0 {
				d.Leaves.add(key, newMeta("l"+key, "", []byte(`{}`)))
			}
		}
		joins, leaves := Presences{}, Presences{}
		for _, piece := range d.Split(1 + r.IntN(500)) {
			if piece.Empty() {
				t.Fatal("an empty piece")
			}
			for key, metas := range piece.Joins {
				if len(d.Leaves[key]) != len(piece.Leaves[key]) {
					t.Fatalf("the sides of %s are apart", key)
				}
				joins[key] = metas
			}
			for key, metas := range piece.Leaves {
				leaves[key] = metas
			}
		}
		if !bytes.Equal(joins.AppendJSON(nil), d.Joins.AppendJSON(nil)) || !bytes.Equal(leaves.AppendJSON(nil), d.Leaves.AppendJSON(nil)) {
			t.Fatal("the pieces make something else")
		}
	}
}

func TestParsePresencesRefuses(t *testing.T) {
	for _, s := range []string{"", "[]", `{"a":{"metas":[{}]}}`, `{"a":{"metas":[1]}}`, `{"a":{"metas":[{"phx_ref":""}]}}`} {
		if p, err := ParsePresences([]byte(s)); err == nil {
			t.Errorf("%s: %v", s, p)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, key := range []string{"", "a", "ключ 🦆", strings.Repeat("k", MaxKey), "proto", "Constructor"} {
		if err := CheckKey(key); err != nil {
			t.Errorf("%q: %v", key, err)
		}
	}
	for _, key := range []string{"__proto__", "constructor", "toString", "hasOwnProperty", "valueOf", strings.Repeat("k", MaxKey+1)} {
		if CheckKey(key) == nil {
			t.Errorf("%q was taken", key)
		}
	}
}

func TestMetas(t *testing.T) {
	for in, want := range map[string]string{
		`{}`: `{}`, ` { "a" : 1 } `: `{"a":1}`, `{"phx_ref":"x","a":1,"phx_ref_prev":"y"}`: `{"a":1}`, `{"phx_r\u0065f":1}`: `{}`, `{"a":{"phx_ref":1}}`: `{"a":{"phx_ref":1}}`,
	} {
		if got, err := CleanMeta([]byte(in)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v; want %s", in, got, err, want)
		}
	}
	for _, in := range []string{"", "1", "[]", "null", `{"a":"` + strings.Repeat("x", MaxMeta) + `"}`, "{\"a\":\"\xff\"}"} {
		if got, err := CleanMeta([]byte(in)); err == nil {
			t.Errorf("%.40q: %s", in, got)
		}
	}
	for _, c := range [][3]string{
		{`{"a":1,"b":2}`, `{"b":3,"c":4,"x":5}`, `{"a":1,"b":3,"c":4}`},
		{`{}`, `{"c":4,"b":1,"b":2,"phx_ref":"x"}`, `{"b":2,"c":4}`},
		{`{"a":1}`, `{}`, `{"a":1}`},
	} {
		got, err := MergeMeta([]byte(c[0]), []byte(c[1]), []string{"b", "c", "phx_ref"})
		if err != nil || string(got) != c[2] {
			t.Errorf("%s + %s = %s, %v; want %s", c[0], c[1], got, err, c[2])
		}
	}
	if _, err := MergeMeta([]byte(`{}`), []byte(`[]`), nil); err == nil {
		t.Error("an array was merged")
	}
	if m := newMeta("r", "p", []byte(`{"a":1}`)); !json.Valid(m.JSON) {
		t.Errorf("%s", m.JSON)
	}
}
