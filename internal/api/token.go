package api

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Limits of tokens.
const (
	minToken     = 16       // bytes
	maxTokens    = 100      // at once
	maxTokenFile = 64 << 10 // bytes
)

// rereadEvery is how often a file of tokens is looked at, at most: when a request comes.
const rereadEvery = time.Second

// Tokens are the tokens that open the door. Only their hashes are kept.
type Tokens struct {
	file string // "" where they never change
	log  *slog.Logger

	mu     sync.Mutex // guards what follows
	hashes [][sha256.Size]byte
	read   [sha256.Size]byte // hash of what was read last, good or bad
	looked time.Time
}

// NewTokens takes one token that never changes.
func NewTokens(token string) (*Tokens, error) {
	if err := checkToken([]byte(token)); err != nil {
		return nil, err
	}
	return &Tokens{hashes: [][sha256.Size]byte{sha256.Sum256([]byte(token))}}, nil
}

// OpenTokens reads a file with a token a line, and rereads it when it changes. What is then wrong with it goes to the log, and the old tokens stay.
func OpenTokens(file string, log *slog.Logger) (*Tokens, error) {
	t := &Tokens{file: file, log: log}
	text, err := readTokens(file)
	if err == nil {
		t.read, t.looked = sha256.Sum256(text), time.Now()
		t.hashes, err = parseTokens(text)
	}
	return t, err
}

// Match reports whether token is one of them, in a time that does not depend on how much of it is right.
func (t *Tokens) Match(token string) bool {
	got, match := sha256.Sum256([]byte(token)), 0
	for _, want := range t.current() {
		match |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return match == 1
}

func (t *Tokens) current() [][sha256.Size]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file != "" && time.Since(t.looked) >= rereadEvery {
		t.looked = time.Now()
		t.rereadLocked()
	}
	return t.hashes
}

func (t *Tokens) rereadLocked() {
	text, err := readTokens(t.file)
	var hashes [][sha256.Size]byte
	if sum := sha256.Sum256(text); err == nil {
		if sum == t.read {
			return
		}
		t.read = sum
		hashes, err = parseTokens(text)
	}
	if err != nil {
		t.log.Error("API tokens not reread: the old ones stay", "file", t.file, "err", err)
		return
	}
	t.hashes = hashes
	t.log.Info("API tokens reread", "file", t.file, "tokens", len(hashes))
}

func readTokens(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err == nil && len(text) > maxTokenFile {
		err = fmt.Errorf("more than %d bytes", maxTokenFile)
	}
	return text, err
}

// parseTokens reads a token a line; white space around it and empty lines count for nothing. Errors name the line, and never what stands there.
func parseTokens(text []byte) (hashes [][sha256.Size]byte, err error) {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		token := bytes.TrimSpace(line)
		if len(token) == 0 {
			continue
		}
		if err := checkToken(token); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		hashes = append(hashes, sha256.Sum256(token))
	}
	switch {
	case len(hashes) == 0:
		return nil, errors.New("no token in it")
	case len(hashes) > maxTokens:
		return nil, fmt.Errorf("%d tokens, more than %d", len(hashes), maxTokens)
	}
	return hashes, nil
}

func checkToken(token []byte) error {
	if len(token) < minToken {
		return fmt.Errorf("a token of %d bytes: want at least %d", len(token), minToken)
	}
	for _, c := range token {
		if c <= ' ' || c > '~' {
			return errors.New("a token has printable ASCII only, and no space")
		}
	}
	return nil
}
