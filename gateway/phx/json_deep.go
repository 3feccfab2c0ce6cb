package phx

// AnyDepth as a number of levels means that there is no bound: a client may
// send what its frame can hold, and a megabyte of brackets must not become a
// stack of a hundred.
const AnyDepth = 1 << 30

// endOfRecursion is how many of AnyDepth levels are left where the loop takes
// over.
const endOfRecursion = AnyDepth - MaxDepth

// scanDeep is scanValue for an array or object, without recursion: one bit for
// each that is open.
func scanDeep(b []byte, i int) (end int, err error) {
	var open kinds
	for {
		switch b[i] {
		case '{', '[':
			object := b[i] == '{'
			open.push(object)
			i = skipSpace(b, i+1)
			if i < len(b) && b[i] == closer(object) {
				break // empty: what follows closes it
			}
			if object {
				if i, err = scanKey(b, i); err != nil {
					return i, err
				}
			}
			if i >= len(b) {
				return i, ErrNotJSON
			}
			continue
		default:
			if i, err = scanValue(b, i, 0); err != nil {
				return i, err
			}
			i = skipSpace(b, i)
		}
		for i < len(b) && b[i] == closer(open.top()) {
			i++
			if open.pop(); open.n == 0 {
				return i, nil
			}
			i = skipSpace(b, i)
		}
		if i >= len(b) || b[i] != ',' {
			return i, ErrNotJSON
		}
		i = skipSpace(b, i+1)
		if open.top() {
			if i, err = scanKey(b, i); err != nil {
				return i, err
			}
		}
		if i >= len(b) {
			return i, ErrNotJSON
		}
	}
}

// scanKey reads a key and its colon and returns the index of the value.
func scanKey(b []byte, i int) (int, error) {
	if i >= len(b) || b[i] != '"' {
		return i, ErrNotJSON
	}
	i, err := scanString(b, i)
	if err != nil {
		return i, err
	}
	i = skipSpace(b, i)
	if i >= len(b) || b[i] != ':' {
		return i, ErrNotJSON
	}
	return skipSpace(b, i+1), nil
}

func closer(object bool) byte {
	if object {
		return '}'
	}
	return ']'
}

// kinds is a stack of bits: set for an object, clear for an array.
type kinds struct {
	words []uint64
	n     int
}

func (k *kinds) push(object bool) {
	if k.n%64 == 0 {
		k.words = append(k.words[:k.n/64], 0)
	}
	bit := uint64(1) << (k.n % 64)
	if object {
		k.words[k.n/64] |= bit
	} else {
		k.words[k.n/64] &^= bit
	}
	k.n++
}

func (k *kinds) pop() { k.n-- }

func (k *kinds) top() bool {
	i := k.n - 1
	return k.words[i/64]>>(i%64)&1 == 1
}
