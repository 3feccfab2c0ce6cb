//go:build linux

package ceilings

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// get is one GET on the admin port; status 0 means that nobody answered.
func (g *gateway) get(path string) (status int, body string) {
	response, err := g.client.Get("http://" + g.admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, err.Error()
	}
	return response.StatusCode, string(text)
}

// metrics are the values of one scrape by name and labels, as they are written there.
type metrics map[string]float64

func (g *gateway) scrape(t *testing.T) metrics {
	t.Helper()
	status, text := g.get("/metrics")
	if status != http.StatusOK {
		t.Errorf("metrics: %d %s", status, text)
	}
	m := metrics{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if !ok {
			name, value, _ = strings.Cut(lines.Text(), " ")
		}
		if n, err := strconv.ParseFloat(value, 64); err == nil {
			m[name] = n
		}
	}
	return m
}

// value is the sum of a metric's series that have the label (`cause="slow"`), or of all for "".
func (m metrics) value(name, label string) int64 {
	var sum float64
	for series, n := range m {
		if of, labels, _ := strings.Cut(series, "{"); of == name && strings.Contains(labels, label) {
			sum += n
		}
	}
	return int64(sum)
}

// count scrapes one value.
func (g *gateway) count(t *testing.T, name, label string) int64 {
	t.Helper()
	return g.scrape(t).value(name, label)
}

// wantCount waits until a metric has exactly this value.
func (g *gateway) wantCount(t *testing.T, name, label string, want int) {
	t.Helper()
	var got int64
	defer func() {
		if got != int64(want) {
			t.Errorf("%s{%s} is %d, want %d", name, label, got, want)
		}
	}()
	waitFor(t, name+" "+label, func() bool {
		got = g.count(t, name, label)
		return got >= int64(want)
	})
}
