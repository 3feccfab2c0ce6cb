package main

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a certificate whose files are reread when they change. They are looked at when a handshake needs them, at most once a second.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	cert    *tls.Certificate
	looked  time.Time
	changed [2]time.Time // of the files that cert came from
}

func (c *certificate) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loadLocked()
}

func (c *certificate) loadLocked() error {
	changed, err := c.times()
	if err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.cert, c.changed, c.looked = &cert, changed, time.Now()
	return nil
}

func (c *certificate) times() (out [2]time.Time, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return out, err
		}
		out[i] = info.ModTime()
	}
	return out, nil
}

// get returns the certificate for a handshake. Files that cannot be read keep the old one.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < time.Second {
		return c.cert, nil
	}
	c.looked = time.Now()
	if changed, err := c.times(); err == nil && changed == c.changed {
		return c.cert, nil
	}
	if err := c.loadLocked(); err != nil {
		c.log.Error("certificate not reread: the old one stays", "err", err)
	} else {
		c.log.Info("certificate reread", "file", c.certFile)
	}
	return c.cert, nil
}
