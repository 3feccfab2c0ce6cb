package rules

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile is how long a rules file may be, in bytes.
const maxFile = 1 << 20

// parser gathers the mistakes of one file.
type parser struct {
	file     string
	mistakes []mistake
}

type mistake struct {
	line int
	text string
}

// wrong notes a mistake on a line of the file.
func (p *parser) wrong(line int, format string, args ...any) {
	p.mistakes = append(p.mistakes, mistake{line, fmt.Sprintf(format, args...)})
}

// err returns all mistakes in the order of their lines, or nil.
func (p *parser) err() error {
	slices.SortStableFunc(p.mistakes, func(a, b mistake) int { return a.line - b.line })
	var errs []error
	for _, m := range p.mistakes {
		errs = append(errs, fmt.Errorf("%s:%d: %s", p.file, m.line, m.text))
	}
	return errors.Join(errs...)
}

// root returns the content of the file's only document, or nil after noting why there is none to look at.
func (p *parser) root(data []byte) *yaml.Node {
	if len(data) > maxFile {
		p.wrong(lineAt(data, maxFile), "the file goes beyond %d bytes here", maxFile)
		return nil
	}
	if i := indexUnreadable(data); i >= 0 {
		p.wrong(lineAt(data, i), "a byte or character that YAML does not allow: %q", firstRune(data[i:]))
		return nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	doc, err := decodeDocument(decoder)
	if errors.Is(err, io.EOF) {
		p.wrong(1, "the file is empty")
		return nil
	}
	if err != nil {
		p.syntax(err, data)
		return nil
	}
	switch next, err := decodeDocument(decoder); {
	case err == nil:
		p.wrong(next.Line, "a second document: a rules file is one")
	case !errors.Is(err, io.EOF):
		p.syntax(err, data)
	}
	p.refuseAliases(doc)
	if len(p.mistakes) > 0 {
		return nil
	}
	root := doc.Content[0]
	if typeName(root) == "nothing" {
		p.wrong(root.Line, "the file is empty")
		return nil
	}
	return root
}

// decodeDocument reads the next document. The yaml package panics where it finds itself in a state that it holds to be
// impossible; a gateway that rereads a file must not die of that.
func decodeDocument(decoder *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	doc = new(yaml.Node)
	if err := decoder.Decode(doc); err != nil {
		return nil, err
	}
	return doc, nil
}

var (
	syntaxError   = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntax notes an error of the yaml package. It names no line where that is the first, nor for an unknown anchor.
func (p *parser) syntax(err error, data []byte) {
	line, text := 1, err.Error()
	if m := syntaxError.FindStringSubmatch(text); m != nil {
		text = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		} else if a := unknownAnchor.FindStringSubmatch(text); a != nil {
			line = lineAt(data, max(0, bytes.Index(data, []byte("*"+a[1]))))
		}
	}
	p.wrong(line, "%s", text)
}

// refuseAliases notes every alias. Rules have no need of them, and a short file can mean billions of nodes by them.
func (p *parser) refuseAliases(n *yaml.Node) {
	if n.Kind == yaml.AliasNode {
		p.wrong(n.Line, "an alias (*%s): write it out", n.Value)
	}
	for _, child := range n.Content {
		p.refuseAliases(child)
	}
}

// indexUnreadable returns the index of the first byte that is not UTF-8, or of the first character that YAML does not
// allow (YAML 1.2 §5.1, c-printable), or -1. The yaml package refuses both as well, but without a line.
func indexUnreadable(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		control := r < ' ' && !strings.ContainsRune("\t\n\r", r) || r >= 0x7F && r < 0xA0 && r != 0x85
		if r == utf8.RuneError && n == 1 || control || r == 0xFFFE || r == 0xFFFF {
			return i
		}
		i += n
	}
	return -1
}

// firstRune returns the first character of b, or its first byte where that is not UTF-8.
func firstRune(b []byte) []byte {
	_, n := utf8.DecodeRune(b)
	return b[:n]
}

// lineAt returns the line, from 1, of data[i].
func lineAt(data []byte, i int) int { return 1 + bytes.Count(data[:i], []byte("\n")) }
