package settings

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/phxgate/phxgate/nats"
)

// NATS are the settings by which every program reaches NATS; embed it.
type NATS struct {
	NATSURL   string `env:"NATS_URL" envDefault:"nats://127.0.0.1:4222" help:"one or more servers, separated by commas"`
	NATSCreds string `env:"NATS_CREDS" help:"credentials file (JWT and NKEY)" none:"none"`
	NATSNKey  string `env:"NATS_NKEY" help:"NKEY seed file" none:"none"`
	NATSCA    string `env:"NATS_CA" help:"CA of the servers, PEM file" none:"none"`
	NATSCert  string `env:"NATS_CERT" help:"client certificate, PEM file, with NATS_KEY" none:"none"`
	NATSKey   string `env:"NATS_KEY" help:"key of NATS_CERT" none:"none"`
	Prefix    string `env:"SUBJECT_PREFIX" envDefault:"phx" help:"of all subjects; for several fleets on one NATS"`
}

// Check reports what is wrong, looking into the files that are named.
func (s *NATS) Check() error {
	errs := []error{checkURLs(s.NATSURL), CheckPair("NATS_CERT", s.NATSCert, "NATS_KEY", s.NATSKey)}
	if _, err := nats.NewSubjects(s.Prefix); err != nil {
		errs = append(errs, fmt.Errorf("SUBJECT_PREFIX: %w", err))
	}
	if s.NATSCreds != "" && s.NATSNKey != "" {
		errs = append(errs, errors.New("NATS_CREDS and NATS_NKEY: set one of them"))
	}
	for _, f := range []struct{ name, path string }{{"NATS_CREDS", s.NATSCreds}, {"NATS_NKEY", s.NATSNKey}, {"NATS_CA", s.NATSCA}} {
		if f.path == "" {
			continue
		}
		if _, err := os.ReadFile(f.path); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.name, err))
		}
	}
	return errors.Join(errs...)
}

// Conn is how to connect under a name.
func (s *NATS) Conn(name string, log *slog.Logger) nats.ConnConfig {
	return nats.ConnConfig{
		URL: s.NATSURL, Name: name, Creds: s.NATSCreds, NKey: s.NATSNKey, CA: s.NATSCA, Cert: s.NATSCert, Key: s.NATSKey, Log: log,
	}
}

// checkURLs checks NATS_URL.
func checkURLs(list string) error {
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" {
			return errors.New("NATS_URL: want nats://host:port, several separated by commas") // the URL may hold a password
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
		default:
			return fmt.Errorf("NATS_URL: %s:// is none of nats, tls, ws, wss", u.Scheme)
		}
	}
	return nil
}

// CheckPair checks a certificate and its key, which belong together.
func CheckPair(certName, cert, keyName, key string) error {
	if cert == "" && key == "" {
		return nil
	}
	if cert == "" || key == "" {
		return fmt.Errorf("%s and %s: set both or none", certName, keyName)
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		return fmt.Errorf("%s, %s: %w", certName, keyName, err)
	}
	return nil
}
