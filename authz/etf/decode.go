package etf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"unicode/utf8"
)

// MaxDepth is how many lists, tuples and maps may stand in each other.
const MaxDepth = 100

// ErrTerm is wrapped by every error of Decode and AppendJSON. The text holds nothing of the term.
var ErrTerm = errors.New("term")

func bad(reason string) error { return fmt.Errorf("%w: %s", ErrTerm, reason) }

// A term is one of
//
//	int64, *big.Int     an integer; *big.Int where it does not fit into int64, of at most 255 bytes
//	float64             finite
//	string              a binary, perhaps not UTF-8
//	Atom                UTF-8
//	Tuple, List, Map
type (
	Atom  string
	Tuple []any
	List  []any
	// Map is the pairs of a map in the order they came. Keys may be terms of any kind; that none is there twice is not checked.
	Map []Pair
	// Pair is a key of a map with its value.
	Pair struct{ Key, Value any }
)

// Tags of the format that are read.
const (
	version           = 131
	newFloatExt       = 'F'
	smallIntegerExt   = 'a'
	integerExt        = 'b'
	atomExt           = 'd' // Latin-1, as OTP before 26 writes it
	smallTupleExt     = 'h'
	largeTupleExt     = 'i'
	nilExt            = 'j'
	stringExt         = 'k' // a list of bytes
	listExt           = 'l'
	binaryExt         = 'm'
	smallBigExt       = 'n'
	mapExt            = 't'
	atomUTF8Ext       = 'v'
	smallAtomUTF8Ext  = 'w'
	smallAtomExt      = 's' // Latin-1
	minTerm, minPair  = 1, 2
	int32Len, tagOnly = 4, 1
)

// Decode reads one term; nothing may stand behind it. What is returned shares no memory with data.
func Decode(data []byte) (any, error) {
	if len(data) == 0 || data[0] != version {
		return nil, bad("not version 131 of the format")
	}
	d := decoder{rest: data[1:]}
	term, err := d.term(0)
	switch {
	case err != nil:
		return nil, err
	case len(d.rest) > 0:
		return nil, bad("more bytes after it")
	}
	return term, nil
}

var errShort = bad("it ends too early")

// decoder reads terms off rest.
type decoder struct{ rest []byte }

// take reads n bytes.
func (d *decoder) take(n int) ([]byte, error) {
	if n > len(d.rest) {
		return nil, errShort
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, nil
}

// length reads a length of size bytes, of items that take at least each bytes: one that cannot be is refused before anything is made for it.
func (d *decoder) length(size, each int) (int, error) {
	b, err := d.take(size)
	if err != nil {
		return 0, err
	}
	var n uint64
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	if n > uint64(len(d.rest)/each) {
		return 0, errShort
	}
	return int(n), nil
}

// bytes reads bytes behind a length of size bytes.
func (d *decoder) bytes(size int) ([]byte, error) {
	n, err := d.length(size, 1)
	if err != nil {
		return nil, err
	}
	return d.take(n)
}

// term reads a term that stands in depth others.
func (d *decoder) term(depth int) (any, error) {
	if depth > MaxDepth {
		return nil, bad("it is too deep")
	}
	tag, err := d.take(tagOnly)
	if err != nil {
		return nil, err
	}
	switch tag[0] {
	case smallIntegerExt:
		b, err := d.take(1)
		if err != nil {
			return nil, err
		}
		return int64(b[0]), nil
	case integerExt:
		b, err := d.take(int32Len)
		if err != nil {
			return nil, err
		}
		return int64(int32(binary.BigEndian.Uint32(b))), nil
	case smallBigExt:
		return d.bigInteger()
	case newFloatExt:
		return d.float()
	case atomExt:
		return d.latin1Atom(2)
	case smallAtomExt:
		return d.latin1Atom(1)
	case atomUTF8Ext:
		return d.atom(2)
	case smallAtomUTF8Ext:
		return d.atom(1)
	case binaryExt:
		b, err := d.bytes(4)
		return string(b), err
	case stringExt:
		b, err := d.bytes(2)
		list := make(List, len(b))
		for i, c := range b {
			list[i] = int64(c)
		}
		return list, err
	case nilExt:
		return List{}, nil
	case listExt:
		return d.list(depth)
	case smallTupleExt:
		return d.tuple(1, depth)
	case largeTupleExt:
		return d.tuple(4, depth)
	case mapExt:
		return d.pairs(depth)
	}
	return nil, bad("it holds what is not data: a reference, pid, port, fun, bit string, compressed or very large term")
}

// bigInteger reads a sign and up to 255 bytes, the lowest first.
func (d *decoder) bigInteger() (any, error) {
	n, err := d.length(1, 1)
	if err != nil {
		return nil, err
	}
	b, err := d.take(1 + n)
	if err != nil {
		return nil, err
	}
	sign, digits := b[0], slices.Clone(b[1:])
	slices.Reverse(digits)
	i := new(big.Int).SetBytes(digits)
	switch sign {
	case 0:
	case 1:
		i.Neg(i)
	default:
		return nil, bad("an integer's sign is neither 0 nor 1")
	}
	if i.IsInt64() {
		return i.Int64(), nil
	}
	return i, nil
}

func (d *decoder) float() (any, error) {
	b, err := d.take(8)
	if err != nil {
		return nil, err
	}
	f := math.Float64frombits(binary.BigEndian.Uint64(b))
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, bad("a float is not finite")
	}
	return f, nil
}

func (d *decoder) atom(size int) (any, error) {
	b, err := d.bytes(size)
	if err == nil && !utf8.Valid(b) {
		err = bad("an atom is not UTF-8")
	}
	return Atom(b), err
}

func (d *decoder) latin1Atom(size int) (any, error) {
	b, err := d.bytes(size)
	runes := make([]rune, len(b))
	for i, c := range b {
		runes[i] = rune(c)
	}
	return Atom(runes), err
}

func (d *decoder) terms(n, depth int) ([]any, error) {
	list := make([]any, n)
	for i := range list {
		var err error
		if list[i], err = d.term(depth + 1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (d *decoder) tuple(size, depth int) (any, error) {
	n, err := d.length(size, minTerm)
	if err != nil {
		return nil, err
	}
	list, err := d.terms(n, depth)
	return Tuple(list), err
}

func (d *decoder) list(depth int) (any, error) {
	n, err := d.length(4, minTerm)
	if err != nil {
		return nil, err
	}
	list, err := d.terms(n, depth)
	if err != nil {
		return nil, err
	}
	tail, err := d.take(tagOnly)
	if err != nil {
		return nil, err
	}
	if tail[0] != nilExt {
		return nil, bad("a list is improper")
	}
	return List(list), nil
}

func (d *decoder) pairs(depth int) (any, error) {
	n, err := d.length(4, minPair)
	if err != nil {
		return nil, err
	}
	pairs := make(Map, n)
	for i := range pairs {
		if pairs[i].Key, err = d.term(depth + 1); err != nil {
			return nil, err
		}
		if pairs[i].Value, err = d.term(depth + 1); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}
