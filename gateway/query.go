package gateway

import (
	"errors"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/phxgate/phxgate/gateway/phx"
)

// Bounds of a query string; Plug has the same kind of limits.
const (
	maxParams     = 1000
	maxParamDepth = 32
)

var (
	errQueryUTF8 = errors.New("query string is not valid UTF-8")
	errQueryMany = errors.New("query string has too many or too deep parameters")
)

// param is a query parameter: text, a list (a[]=x), or a map (a[b]=x), as Plug.Conn.Query reads it.
type param struct {
	text string
	list []*param
	keys []string // of a map, in order of first appearance
	vals map[string]*param
}

func (p *param) isText() bool { return p.list == nil && p.vals == nil }

// parseQuery reads a query string into a map. A percent sign that begins no escape stands for itself, as in Phoenix. What is not UTF-8 is an error.
func parseQuery(raw string) (*param, error) {
	root := &param{vals: map[string]*param{}}
	n := 0
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if pair == "" {
			continue
		}
		if n++; n > maxParams {
			return nil, errQueryMany
		}
		k, v, _ := strings.Cut(pair, "=")
		key, value := unescapeQuery(k), unescapeQuery(v)
		if !utf8.ValidString(key) || !utf8.ValidString(value) {
			return nil, errQueryUTF8
		}
		path := keyPath(key)
		if len(path) > maxParamDepth {
			return nil, errQueryMany
		}
		root.put(path, value)
	}
	return root, nil
}

// unescapeQuery decodes + and %XX; anything else stays as it is.
func unescapeQuery(s string) string {
	if out, err := url.QueryUnescape(s); err == nil {
		return out
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if out, err := url.QueryUnescape(s[i : i+3]); err == nil {
				b.WriteString(out)
				i += 2
				continue
			}
		}
		if s[i] == '+' {
			b.WriteByte(' ')
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// keyPath splits a[b][] into "a", "b", "". A key whose brackets do not match is one name.
func keyPath(key string) []string {
	open := strings.IndexByte(key, '[')
	if open <= 0 || !strings.HasSuffix(key, "]") {
		return []string{key}
	}
	return append([]string{key[:open]}, strings.Split(key[open+1:len(key)-1], "][")...)
}

// put sets the value at path; where the shapes disagree the later one wins.
func (p *param) put(path []string, value string) {
	for i, name := range path {
		var next *param
		if name == "" && i > 0 {
			p.vals, p.keys = nil, nil
			next = &param{}
			p.list = append(p.list, next)
		} else {
			if p.vals == nil {
				p.vals, p.list = map[string]*param{}, nil
			}
			next = p.vals[name]
			if next == nil {
				next = &param{}
				p.vals[name] = next
				p.keys = append(p.keys, name)
			}
		}
		p = next
	}
	*p = param{text: value}
}

// stringOf returns a parameter that is text.
func (p *param) stringOf(name string) (string, bool) {
	v := p.vals[name]
	if v == nil || !v.isText() {
		return "", false
	}
	return v.text, true
}

// take removes a parameter and returns it, nil if it is not there.
func (p *param) take(name string) *param {
	v := p.vals[name]
	if v == nil {
		return nil
	}
	delete(p.vals, name)
	for i, k := range p.keys {
		if k == name {
			p.keys = append(p.keys[:i:i], p.keys[i+1:]...)
			break
		}
	}
	return v
}

// appendJSON appends the parameter as JSON.
func (p *param) appendJSON(dst []byte) []byte {
	switch {
	case p.list != nil:
		dst = append(dst, '[')
		for i, v := range p.list {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = v.appendJSON(dst)
		}
		return append(dst, ']')
	case p.vals != nil:
		dst = append(dst, '{')
		for i, k := range p.keys {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(phx.AppendQuote(dst, k), ':')
			dst = p.vals[k].appendJSON(dst)
		}
		return append(dst, '}')
	}
	return phx.AppendQuote(dst, p.text)
}
