package phxtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// answer is an HTTP response, read to its end.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// roundTrip sends one HTTP/1.1 request on a connection of its own. It writes
// the request itself, since net/http would not let a test set Connection,
// Upgrade and the like. Names go out as they are given.
func roundTrip(ctx context.Context, base *url.URL, config *tls.Config, method, target string, headers map[string]string, body []byte) (answer, error) {
	conn, err := dialHTTP(ctx, base, config)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	// A context that ends cuts the exchange short.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(pollPatience())); err != nil {
		return answer{}, err
	}
	if _, err := conn.Write(requestText(base.Host, method, target, headers, body)); err != nil {
		return answer{}, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return answer{}, fmt.Errorf("%s %s: %w", method, target, err)
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	if a.status == http.StatusSwitchingProtocols {
		return a, nil // what follows is no HTTP
	}
	if a.body, err = io.ReadAll(io.LimitReader(response.Body, maxFrame)); err != nil {
		return a, fmt.Errorf("%s %s: status %d, body: %w", method, target, a.status, err)
	}
	return a, nil
}

func dialHTTP(ctx context.Context, base *url.URL, config *tls.Config) (net.Conn, error) {
	port := base.Port()
	if base.Scheme == "https" {
		if port == "" {
			port = "443"
		}
		dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: Patience()}, Config: config}
		return dialer.DialContext(ctx, "tcp", net.JoinHostPort(base.Hostname(), port))
	}
	if port == "" {
		port = "80"
	}
	dialer := net.Dialer{Timeout: Patience()}
	return dialer.DialContext(ctx, "tcp", net.JoinHostPort(base.Hostname(), port))
}

// requestText adds Host, Content-Length and "Connection: close" where the
// headers do not have them.
func requestText(host, method, target string, headers map[string]string, body []byte) []byte {
	given := make(map[string]bool, len(headers))
	names := make([]string, 0, len(headers))
	for name := range headers {
		given[strings.ToLower(name)] = true
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	add := func(name, value string) {
		if !given[strings.ToLower(name)] {
			fmt.Fprintf(&b, "%s: %s\r\n", name, value)
		}
	}
	add("Host", host)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\r\n", name, headers[name])
	}
	add("Connection", "close")
	if len(body) > 0 || method == http.MethodPost || method == http.MethodPut {
		add("Content-Length", strconv.Itoa(len(body)))
	}
	b.WriteString("\r\n")
	b.Write(body)
	return []byte(b.String())
}
