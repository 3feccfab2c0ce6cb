package nemesis

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// overflows is how many messages the gateways' inboxes had no room for since they started. All of them must be there.
func (r *run) overflows() (sum int) {
	r.t.Helper()
	for i := range gatewayCount {
		n, err := r.fleet.overflows(i)
		if err != nil {
			r.t.Errorf("gateway %d: %v", i, err)
		}
		sum += n
	}
	return sum
}

// overflows asks one gateway.
func (f *fleet) overflows(gateway int) (int, error) {
	resp, err := f.admin.Get("http://" + f.adminAddrs[gateway] + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return droppedFull(resp.Body)
}

// droppedFull finds phxgate_nats_dropped_total of full inboxes in Prometheus's text.
func droppedFull(text io.Reader) (int, error) {
	lines := bufio.NewScanner(text)
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), "} "); ok && strings.HasPrefix(name, "phxgate_nats_dropped_total{") && strings.Contains(name, `reason="inbox full"`) {
			n, err := strconv.ParseFloat(value, 64)
			return int(n), err
		}
	}
	return 0, fmt.Errorf("no phxgate_nats_dropped_total of full inboxes (%v)", lines.Err())
}
