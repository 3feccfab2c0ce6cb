package nemesis

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// serviceCount is how many presence services run.
const serviceCount = 2

// presenceRules track every channel under its token's subject.
const presenceRules = `channels:
  - topic: "room:*"
    join: allow
    presence: {key: claims.sub}
    events:
      - {event: status, do: presence_update, fields: [status], reply: true}
`

// presenceSecret signs the people's tokens, which give their sockets an id: without one nobody's place is kept.
const presenceSecret = "presence-nemesis-secret-0123456789"

// startServices starts the presence services and waits until they are ready.
func (f *fleet) startServices() {
	f.t.Helper()
	ports := freePorts(f.t, serviceCount)
	for i := range serviceCount {
		f.services = append(f.services, newProcess(f.t, f.starter, fmt.Sprintf("presence service %d", i)))
		f.serviceAdmins = append(f.serviceAdmins, local(ports[i]))
		var links [serverCount]*proxy
		for s := range serverCount {
			links[s] = newProxy(f.t, local(f.clientPorts[s]))
		}
		f.serviceLinks = append(f.serviceLinks, links)
		f.startService(i)
	}
	for i := range serviceCount {
		waitUntil(f.t, fmt.Sprintf("presence service %d is ready", i), 6*recoveryLimit(), func() bool { return f.serviceReady(i) })
	}
}

func (f *fleet) startService(i int) {
	var urls []string
	for _, link := range f.serviceLinks[i] {
		urls = append(urls, "nats://"+link.addr())
	}
	f.services[i].start(f.built.presence, nil, "ADMIN_LISTEN="+f.serviceAdmins[i], "NATS_URL="+strings.Join(urls, ","), "PRESENCE_REPLICAS=3", "PRESENCE_STORAGE=memory",
		"PRESENCE_MERGE=200ms")
}

func (f *fleet) serviceReady(i int) bool {
	resp, err := f.admin.Get("http://" + f.serviceAdmins[i] + "/readyz")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// presenceFaults are the faults of presence's nemesis.
var presenceFaults = append(append([]func(*fleet, *rand.Rand) fault{}, faultKinds...), killService, stopService, cutService)

func killService(f *fleet, rng *rand.Rand) fault {
	i := rng.IntN(serviceCount)
	return fault{
		kind: "kill service", what: fmt.Sprintf("presence service %d", i), hold: between(rng, 200*time.Millisecond, 3*time.Second),
		begin: f.services[i].kill, heal: func() { f.startService(i) },
	}
}

func stopService(f *fleet, rng *rand.Rand) fault {
	i := rng.IntN(serviceCount)
	return fault{
		kind: "stop service", what: fmt.Sprintf("presence service %d", i), hold: between(rng, time.Second, 6*time.Second),
		begin: func() { f.services[i].signal(syscall.SIGSTOP) }, heal: func() { f.services[i].signal(syscall.SIGCONT) },
	}
}

func cutService(f *fleet, rng *rand.Rand) fault {
	i := rng.IntN(serviceCount)
	set := func(state linkState) {
		for _, link := range f.serviceLinks[i] {
			link.set(state)
		}
	}
	return fault{
		kind: "cut service", what: fmt.Sprintf("presence service %d", i), hold: between(rng, 200*time.Millisecond, 5*time.Second),
		begin: func() { set(linkCut) }, heal: func() { set(linkOpen) },
	}
}
