package phxtest

import (
	"testing"

	"github.com/nats-io/nats.go"
)

func mustConnect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url, nats.Timeout(Patience()))
	if err != nil {
		t.Fatalf("connect %s: %v", url, err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestStartNATS(t *testing.T) {
	nc := mustConnect(t, StartNATS(t))
	js, err := nc.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateKeyValue(&nats.KeyValueConfig{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.PutString("k", "v"); err != nil {
		t.Error(err)
	}
}

// wantHop wants a message published at one server to reach a subscriber of
// another.
func wantHop(t *testing.T, from, to *nats.Conn) {
	t.Helper()
	sub, err := to.SubscribeSync("hop")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Unsubscribe()
	// A flush tells one's own server; how the others hear of the interest takes
	// its time, so the message is repeated.
	if err := to.Flush(); err != nil {
		t.Fatal(err)
	}
	got := waitUntil(Patience(), func() bool {
		if err := from.Publish("hop", nil); err != nil {
			return false
		}
		n, _, err := sub.Pending()
		return err == nil && n > 0
	})
	if !got {
		t.Errorf("no message from %s to %s", from.ConnectedServerName(), to.ConnectedServerName())
	}
}

func TestCluster(t *testing.T) {
	c := StartCluster(t, 3)
	c.WaitForJetStream()
	wantHop(t, mustConnect(t, c.URL(0)), mustConnect(t, c.URL(2)))
	js, err := mustConnect(t, c.URL(1)).JetStream()
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateKeyValue(&nats.KeyValueConfig{Bucket: "b", Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.PutString("k", "v"); err != nil {
		t.Error(err)
	}

	// The first goes and comes back: the others do not depend on it.
	c.Stop(0)
	c.Stop(0)
	if nc, err := nats.Connect(c.URL(0)); err == nil {
		nc.Close()
		t.Error("a stopped server accepts connections")
	}
	wantHop(t, mustConnect(t, c.URL(1)), mustConnect(t, c.URL(2)))
	url := c.URL(0)
	c.Restart(0)
	if c.URL(0) != url {
		t.Errorf("restarted at %s, was at %s", c.URL(0), url)
	}
	wantHop(t, mustConnect(t, c.URL(0)), mustConnect(t, c.URL(1)))
	wantHop(t, mustConnect(t, c.URL(2)), mustConnect(t, c.URL(0)))
}

// A cluster of one is a server that can be stopped, and keeps what it stored.
func TestClusterOfOne(t *testing.T) {
	c := StartCluster(t, 1)
	c.WaitForJetStream()
	js, err := mustConnect(t, c.URLs()).JetStream()
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := js.CreateKeyValue(&nats.KeyValueConfig{Bucket: "b"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.PutString("k", "v"); err != nil {
		t.Fatal(err)
	}
	c.Restart(0)
	js, err = mustConnect(t, c.URL(0)).JetStream()
	if err != nil {
		t.Fatal(err)
	}
	if bucket, err = js.KeyValue("b"); err != nil {
		t.Fatal(err)
	}
	if entry, err := bucket.Get("k"); err != nil || string(entry.Value()) != "v" {
		t.Errorf("after the restart: %v, %v", entry, err)
	}
}
