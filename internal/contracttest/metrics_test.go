package contracttest

import (
	"bufio"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// droppedSample is a line of what counts things dropped: any name that ends
// in dropped_total, with a label reason.
var droppedSample = regexp.MustCompile(`^[a-zA-Z_:]\w*dropped_total\{(?:.*,)?reason="([^"]*)".*\} (\S+)$`)

// dropped is how much the gateway counted as dropped so far, all reasons and
// metrics together.
func (g *gateway) dropped(t *testing.T) float64 {
	t.Helper()
	status, text := get("http://" + g.admin + "/metrics")
	if status != http.StatusOK {
		t.Fatalf("metrics: %d %s", status, text)
	}
	sum := 0.0
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		if m := droppedSample.FindStringSubmatch(lines.Text()); m != nil {
			n, err := strconv.ParseFloat(m[2], 64)
			if err != nil {
				t.Fatalf("metrics: %s: %v", lines.Text(), err)
			}
			sum += n
		}
	}
	return sum
}

// waitForDropped waits until the count has grown beyond before.
func (g *gateway) waitForDropped(t *testing.T, before float64) {
	t.Helper()
	waitFor(t, "a metric that ends in dropped_total to grow", func() bool { return g.dropped(t) > before })
}

// count is the value of one sample, a whole number.
func (g *gateway) count(t *testing.T, sample string) int {
	t.Helper()
	status, text := get("http://" + g.admin + "/metrics")
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(sample) + ` (\d+)$`).FindStringSubmatch(text)
	if status != http.StatusOK || m == nil {
		t.Fatalf("metrics: %d, no %s", status, sample)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
