package api

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	one = "token-one-0123456789"
	two = "token-two-0123456789"
)

func TestTokensThatAreNone(t *testing.T) {
	for _, bad := range []string{"", "short", strings.Repeat("x", minToken-1), "with a space in it 12345", "with\ta tab in it 123456", "not-ascii-é-0123456789"} {
		if _, err := NewTokens(bad); err == nil || len(bad) > 5 && strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	file := filepath.Join(t.TempDir(), "tokens")
	for text, want := range map[string]string{
		"": "no token", " \n\n": "no token", one + "\nshort\n": "line 2: a token of 5 bytes", one + "\n\n" + two + " x\n": "line 3", strings.Repeat(one+"\n", maxTokens+1): "101 tokens",
		strings.Repeat("x\n", maxTokenFile): "more than 65536 bytes",
	} {
		writeTokens(t, file, text)
		if _, err := OpenTokens(file, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), one) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	if _, err := OpenTokens(file+".none", slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a file that is not there is taken")
	}
}

func TestTokenMatches(t *testing.T) {
	tokens, err := NewTokens(one)
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]bool{one: true, two: false, "": false, one + "x": false, one[1:]: false, strings.ToUpper(one): false} {
		if tokens.Match(given) != want {
			t.Errorf("Match(%q) is %v", given, !want)
		}
	}
}

// A file that changes changes the tokens within a second; one with a mistake changes nothing, and the log says so once, and never a token.
func TestTokensAreReread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "tokens")
		var log bytes.Buffer
		writeTokens(t, file, one)
		tokens, err := OpenTokens(file, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		want := func(oneHolds, twoHolds bool) {
			t.Helper()
			time.Sleep(rereadEvery)
			if tokens.Match(one) != oneHolds || tokens.Match(two) != twoHolds {
				t.Errorf("one holds: %v, two: %v, want %v, %v\n%s", tokens.Match(one), tokens.Match(two), oneHolds, twoHolds, &log)
			}
		}
		want(true, false)
		writeTokens(t, file, one+"\n  "+two+"\r\n")
		want(true, true)
		writeTokens(t, file, two)
		want(false, true)
		logged := log.Len()
		writeTokens(t, file, one+"\nbad\n")
		want(false, true)
		want(false, true)
		if n := strings.Count(log.String()[logged:], "not reread"); n != 1 {
			t.Errorf("the mistake is logged %d times:\n%s", n, &log)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		want(false, true)
		writeTokens(t, file, one)
		want(true, false)
		if strings.Contains(log.String(), one) || strings.Contains(log.String(), two) {
			t.Errorf("the log holds a token:\n%s", &log)
		}
	})
}

func writeTokens(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
