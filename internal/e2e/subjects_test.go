package e2e

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSubjects wants for every subject of docs/contract.md a command to paste and a channel of docs/asyncapi.yaml, and a subject of the contract for every channel. What is wrong is one line each; that commands and channels say what is so is
// for TestCommands and TestAsyncAPI.
func TestSubjects(t *testing.T) {
	subjects := contractSubjects(t)
	api := loadAsyncAPI(t)
	var addresses []string
	for _, c := range api.channels {
		addresses = append(addresses, pattern(c.address))
	}
	commands := documented(t)
	for _, subject := range subjects {
		if !slices.Contains(addresses, pattern(subject)) {
			t.Errorf("%s: no channel has this address in docs/asyncapi.yaml", subject)
		}
		if !slices.ContainsFunc(commands, func(c command) bool { return under(c.subject, subject) }) {
			t.Errorf("%s: no command of the nats CLI in docs/*.md or README.md", subject)
		}
	}
	for _, c := range commands {
		if checkOf(c) == nil {
			t.Errorf("%s: commands_test.go has no check for %s", c.subject, c.line)
		}
	}
	for _, address := range addresses {
		if !slices.ContainsFunc(subjects, func(s string) bool { return pattern(s) == address }) {
			t.Errorf("%s: the table of docs/contract.md does not name this channel of docs/asyncapi.yaml", address)
		}
	}
	for _, header := range contractHeaders(t) {
		if !api.headers[header] {
			t.Errorf("header %s: no message of docs/asyncapi.yaml has it", header)
		}
	}
}

// contractSubjects are the subjects of the contract's table, as `phx.topic.<T>`, without those of later.
func contractSubjects(t *testing.T) []string {
	return firstCells(t, "Subjects at a glance", "`(phx[^`]+)`", 12)
}

// contractHeaders are the headers of the contract's table.
func contractHeaders(t *testing.T) []string { return firstCells(t, "Headers", "`([^`]+)`", 11) }

// firstCells are the matches in the first column of the table under a heading of the contract: more than a few, else the table is not where it was.
func firstCells(t *testing.T, heading, match string, atLeast int) (found []string) {
	t.Helper()
	text, err := os.ReadFile(root + "/docs/contract.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## "+heading+"\n")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, row := range regexp.MustCompile(`(?m)^\| (.*?) \|`).FindAllStringSubmatch(table, -1) {
		if strings.Contains(row[1], "*later*") {
			continue
		}
		for _, m := range regexp.MustCompile(match).FindAllStringSubmatch(row[1], -1) {
			found = append(found, m[1])
		}
	}
	if len(found) < atLeast {
		t.Fatalf("docs/contract.md, %s: only %q", heading, found)
	}
	return found
}

// pattern is a subject of the contract or an address of the document without the names of its variables.
func pattern(s string) string {
	return regexp.MustCompile(`<[^>]*>|\{[^}]*\}`).ReplaceAllString(s, "*")
}
