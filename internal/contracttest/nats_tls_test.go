package contracttest

import (
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
)

// TestNATSTLS: a server whose certificate NATS_CA does not cover is not
// trusted.
func TestNATSTLS(t *testing.T) {
	t.Parallel()
	own, other := t.TempDir(), t.TempDir()
	writeCertificate(t, own, 1)
	writeCertificate(t, other, 2)
	config := func(dir string) string {
		return fmt.Sprintf(`tls: {cert_file: %q, key_file: %q}`, filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	}
	server := startConfigured(t, config(other))
	g := launchGateway(t, server.url(""), everything, "NATS_CA="+filepath.Join(own, "cert.pem"), "READY_GRACE=100ms")
	wantUnready(g, "x509: certificate signed by unknown authority")
	server.restart(config(own))
	g.waitForReady(http.StatusOK)
	g.dial(t).Join("room:1", struct{}{})

	server.restart(config(other))
	wantUnready(g, "x509: certificate signed by unknown authority")

	// A server without TLS is no server for a gateway that wants it.
	server.restart(``)
	wantUnready(g, "secure connection not available")
	server.restart(config(own))
	g.waitForReady(http.StatusOK)
}

// TestNATSClientCertificate: a server that wants a certificate from its
// clients refuses a gateway without one, and one with another CA's.
func TestNATSClientCertificate(t *testing.T) {
	t.Parallel()
	serverDir, ownDir, otherDir := t.TempDir(), t.TempDir(), t.TempDir()
	for i, dir := range []string{serverDir, ownDir, otherDir} {
		writeCertificate(t, dir, int64(i+1))
	}
	server := startConfigured(t, fmt.Sprintf(`tls: {cert_file: %q, key_file: %q, ca_file: %q, verify: true}`,
		filepath.Join(serverDir, "cert.pem"), filepath.Join(serverDir, "key.pem"), filepath.Join(ownDir, "cert.pem")))
	ca := "NATS_CA=" + filepath.Join(serverDir, "cert.pem")

	without := launchGateway(t, server.url(""), everything, ca)
	wantUnready(without, "certificate required")

	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, dir, 4)
	with := launchGateway(t, server.url(""), everything, ca, "NATS_CERT="+cert, "NATS_KEY="+key)
	wantUnready(with, "unknown certificate authority", "bad certificate")
	copyFile(t, filepath.Join(ownDir, "key.pem"), key)
	copyFile(t, filepath.Join(ownDir, "cert.pem"), cert)
	with.waitForReady(http.StatusOK)
	with.dial(t).Join("room:1", struct{}{})
	if status, body := without.readyz(); status != http.StatusServiceUnavailable {
		t.Errorf("without a certificate: readyz %d %q", status, body)
	}
}
