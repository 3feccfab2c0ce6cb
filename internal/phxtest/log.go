package phxtest

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxLine is how many bytes of a frame a line of the transcript shows.
const maxLine = 600

// Log is the transcript of a test so far: a line per frame, "→" to the
// server and "←" from it, with the client's name. Several clients may share
// one ([WithLog]), so that their lines stand in the order they happened. The
// zero value is ready; methods may run concurrently.
type Log struct {
	mu    sync.Mutex // guards lines
	lines []string
}

// String returns the lines, each ended by a newline.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.lines) == 0 {
		return "(nothing was sent or received)\n"
	}
	return strings.Join(l.lines, "\n") + "\n"
}

// Note adds a line that is no frame, such as "closed 1001".
func (l *Log) Note(name, format string, args ...any) {
	l.add(name, "·", fmt.Sprintf(format, args...))
}

func (l *Log) add(name, arrow, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, name+" "+arrow+" "+text)
}

func (l *Log) sent(name string, f Frame)     { l.add(name, "→", f.String()) }
func (l *Log) received(name string, f Frame) { l.add(name, "←", f.String()) }

// Frame is one WebSocket message: its fragments together, unmasked.
type Frame struct {
	Binary bool // a binary message, else text
	Data   []byte
}

// String shows the frame on one line: text as it is, binary as hex after
// "hex:"; what is long is cut.
func (f Frame) String() string {
	if f.Binary {
		return "hex:" + shorten(hex.EncodeToString(f.Data))
	}
	return shorten(string(f.Data))
}

// shorten cuts text to maxLine bytes and says how long it was; line breaks and
// bytes that are not UTF-8 are shown escaped.
func shorten(text string) string {
	whole := len(text)
	if whole > maxLine {
		text = text[:maxLine]
		for !utf8.ValidString(text) && len(text) > maxLine-utf8.UTFMax {
			text = text[:len(text)-1]
		}
	}
	if !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n") {
		text = fmt.Sprintf("%q", text)
	}
	if whole > maxLine {
		text += fmt.Sprintf("… (%d bytes)", whole)
	}
	return text
}
