package contracttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/phxgate/phxgate/internal/phxtest"
)

// writeCertificate writes a self-signed certificate of 127.0.0.1 and its key
// to dir and returns a pool that trusts it.
func writeCertificate(t *testing.T, dir string, serial int64) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	overwrite(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	overwrite(t, filepath.Join(dir, "cert.pem"), string(cert))
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := writeCertificate(t, dir, 1)
	g, b := setup(t, everything, "TLS_CERT_FILE="+filepath.Join(dir, "cert.pem"), "TLS_KEY_FILE="+filepath.Join(dir, "key.pem"))
	url := "wss://" + g.addr + "/socket/websocket?vsn=2.0.0"
	c := phxtest.Dial(t, url, phxtest.TLS(&tls.Config{RootCAs: first}))
	c.Join("room:1", struct{}{})
	body := deep(900)
	for range 20 {
		b.publish("phx.topic.room.1", body, "Phx-Event", "m")
	}
	for range 20 {
		c.WantEvent("room:1", "m", body)
	}

	second := writeCertificate(t, dir, 2)
	trusts := func(pool *x509.CertPool) bool {
		conn, err := tls.Dial("tcp", g.addr, &tls.Config{RootCAs: pool})
		if err != nil {
			return false
		}
		conn.Close()
		return true
	}
	waitFor(t, "the new certificate", func() bool { return trusts(second) })
	if trusts(first) {
		t.Error("the old certificate is still served")
	}
	phxtest.Dial(t, url, phxtest.TLS(&tls.Config{RootCAs: second})).Join("room:1", struct{}{})
	c.Heartbeat() // open connections stay

	// A pair that does not match leaves the one that was read.
	overwrite(t, filepath.Join(dir, "cert.pem"), "broken")
	if !trusts(second) {
		t.Error("a broken file took the certificate away")
	}
}
