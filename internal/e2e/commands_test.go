package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/clustertest"
)

// devRules are the rules that the commands are documented for.
const devRules = root + "/cmd/gateway/dev.yaml"

// lobby is the topic whose channel $CHANNEL is.
const lobby = "room:lobby"

// checks say, for each verb of the nats CLI and each subject of the contract, how to see that such a command does what it says: the event, the payload and the headers are the command's own.
var checks = map[string]map[string]func(*console, command){
	"pub":   {"phx.topic.<T>": checkBroadcast, "phx.channel.<channel id>": checkChannel, "phx.socket.<I>": checkSocket, "phx.authz.recheck.topic.<T>": checkRecheck, "phx.authz.recheck.socket.<I>": checkRecheck},
	"reply": {"phx.event.<E>.<T>": checkReply, "phx.authz.connect": checkConnect, "phx.authz.join": checkJoin},
	"sub": {
		"phx.event.<E>.<T>": checkHeard(func(con *console, c command) (subject string, said []string) {
			h, channel := con.join(lobby)
			h.push(lobby, eventOf(c))
			return "phx.event." + eventOf(c) + ".room.lobby", []string{"Phx-Channel: " + channel, "Phx-Event: " + eventOf(c)}
		}),
		"phx.authz.joins": checkHeard(func(con *console, _ command) (string, []string) {
			openHand(con.t, con.gateway("new").addr).join(lobby) // with its first connect a gateway asks whether batches are answered
			return "phx.authz.joins", []string{`{"joins":[]}`}
		}),
		"phx.joined.<T>": checkHeard(func(con *console, _ command) (string, []string) {
			_, channel := con.join(lobby)
			return "phx.joined.room.lobby", []string{"Phx-Channel: " + channel, "Phx-Topic: " + lobby, "Phx-Socket-Id: ", "Phx-Assigns: {"}
		}),
		"phx.left.<T>": checkHeard(func(con *console, _ command) (string, []string) {
			h, channel := con.join(lobby)
			h.say(map[string]any{"leave": lobby})
			return "phx.left.room.lobby", []string{"Phx-Channel: " + channel, `{"reason":"left"}`}
		}),
		"phx.gateway.lost": checkHeard(func(con *console, _ command) (string, []string) {
			doomed := con.gateway("doomed")
			openHand(con.t, doomed.addr).join(lobby)
			doomed.signal(syscall.SIGKILL)
			doomed.wantEnd(-1)
			return "phx.gateway.lost", []string{`{"gateway":"doomed"}`}
		}),
		"phx.dropped": checkHeard(func(con *console, _ command) (string, []string) {
			con.join(lobby) // only members' gateways see it
			if err := con.nc.Publish("phx.topic.room.lobby", []byte("no JSON")); err != nil {
				con.t.Fatal(err)
			}
			return "phx.dropped", []string{`"subject":"phx.topic.room.lobby"`, `"reason":"`, `"gateway":"main"`}
		}),
	},
	"request": {"phx.presence.list.<T>": checkPresenceList, "phx.presence.update.<T>": checkPresenceUpdate},
}

// TestCommands runs each command of the nats CLI that the docs tell to type, as it stands there: a gateway and presence-svc are there, and phoenix.js clients look on.
func TestCommands(t *testing.T) {
	needNode(t)
	con := openConsole(t, natsCLI(t))
	commands := documented(t)
	for _, subject := range []string{"phx.authz.connect", "phx.authz.join"} { // let clients in, as long as the test runs
		i := slices.IndexFunc(commands, func(c command) bool { return c.verb == "reply" && c.subject == subject })
		if i < 0 {
			t.Fatalf("no command answers %s", subject)
		}
		con.serve(commands[i])
	}
	for _, c := range commands {
		t.Run(c.line, func(t *testing.T) {
			check := checkOf(c)
			if check == nil {
				t.Fatalf("commands_test.go has no check for `nats %s` on %s", c.verb, c.subject)
			}
			own := *con
			own.t = t
			check(&own, c)
		})
	}
}

func checkOf(c command) func(*console, command) {
	for subject, check := range checks[c.verb] {
		if under(c.subject, subject) {
			return check
		}
	}
	return nil
}

// under tells whether a subject that a command names is one of a subject of the contract.
func under(named, subject string) bool {
	fixed, _, variable := strings.Cut(subject, "<")
	if variable {
		return strings.HasPrefix(named, fixed)
	}
	return named == subject
}

// checkBroadcast: every member of the topic gets it, but for the channel of Phx-From.
func checkBroadcast(con *console, c command) {
	event, payload := c.header["Phx-Event"], c.body
	if event == "" {
		var envelope struct {
			Event   string
			Payload json.RawMessage
		}
		con.decode(c.body, &envelope)
		event, payload = envelope.Event, string(envelope.Payload)
	}
	topic := topicOf(c.subject)
	other, _ := con.join(topic)
	h, _ := con.join(topic)
	con.run(c.line)
	other.wantEvent(topic, event, payload)
	if c.header["Phx-From"] == "" {
		h.wantEvent(topic, event, payload)
		return
	}
	con.run(`nats pub ` + c.subject + ` '{}' -H Phx-Event:behind_it`)
	h.until("what is behind it", func(s sight) bool {
		if s.Event == event {
			con.t.Errorf("the channel of Phx-From received %s", event)
		}
		return s.Event == "behind_it"
	})
}

// checkChannel: one channel gets a push, an end, or the late reply to a push.
func checkChannel(con *console, c command) {
	if c.header["Phx-Ref"] != "" {
		asked := con.subscribe("phx.event.work.room.lobby")
		h, _ := con.join(lobby)
		h.push(lobby, "work")
		msg := asked()
		if err := msg.RespondMsg(&nats.Msg{Header: nats.Header{"Phx-Status": {"none"}}}); err != nil {
			con.t.Fatal(err)
		}
		con.env = append(con.env, "REF="+msg.Header.Get("Phx-Ref"))
		con.run(c.line)
		h.wantAnswer("work", c.header["Phx-Status"], c.body)
		return
	}
	h, _ := con.join(lobby)
	con.run(c.line)
	if action := c.header["Phx-Action"]; action != "" {
		h.wantEnd(action)
	} else {
		h.wantEvent(lobby, c.header["Phx-Event"], c.body)
	}
}

// checkSocket: every socket of the id is closed, or one topic on it.
func checkSocket(con *console, c command) {
	h, _ := con.join(lobby)
	con.run(c.line)
	switch action := c.header["Phx-Action"]; action {
	case "disconnect":
		h.until("the close 1001", func(s sight) bool { return s.Finding == "closed" && s.Code == 1001 })
	case "leave":
		h.wantEnd("close")
	default:
		con.t.Fatalf("unknown action %q", action)
	}
}

// checkRecheck: the authz service is asked about the channel anew.
func checkRecheck(con *console, c command) {
	_, channel := con.join(lobby)
	asked := con.subscribe("phx.authz.join")
	con.run(c.line)
	if m := asked(); !strings.Contains(string(m.Data), `"recheck":true`) || !strings.Contains(string(m.Data), channel) {
		con.t.Errorf("asked %s, want a recheck of %s", m.Data, channel)
	}
}

// checkReply: a push is answered so, and what else the reply says is done.
func checkReply(con *console, c command) {
	answering := con.serve(c)
	h, channel := con.join(lobby)
	h.push(lobby, eventOf(c))
	status := c.header["Phx-Status"]
	switch status {
	case "none":
		answering.wantOutput("Phx-Channel: "+channel, "Phx-Ref: ") // with which a late reply is made
	case "":
		status = "ok"
		fallthrough
	default:
		h.wantAnswer(eventOf(c), status, c.body)
	}
	if action := c.header["Phx-Action"]; action != "" {
		h.wantEnd(action)
		return
	}
	// The next event is handed over when this one was answered, and carries the assigns.
	asked := con.subscribe("phx.event.next.room.lobby")
	h.push(lobby, "next")
	next := asked()
	if assigns := c.header["Phx-Assigns"]; assigns != "" && !con.holds(next.Header.Get("Phx-Assigns"), assigns) {
		con.t.Errorf("assigns %s, want %s among them", next.Header.Get("Phx-Assigns"), assigns)
	}
	if err := next.Respond([]byte(`{}`)); err != nil {
		con.t.Fatal(err)
	}
	h.until("the reply to next", func(s sight) bool {
		if status == "none" && s.Finding == "reply" && s.Event == eventOf(c) {
			con.t.Errorf("%s was answered: %+v", eventOf(c), s)
		}
		return s.Finding == "reply" && s.Event == "next"
	})
}

// checkConnect: who connects has that id and those assigns.
func checkConnect(con *console, c command) {
	var reply struct {
		ID      string
		Assigns json.RawMessage
	}
	con.decode(c.body, &reply)
	joined := con.subscribe("phx.joined.room.lobby")
	openHand(con.t, con.addr).join(lobby)
	m := joined()
	if got := m.Header.Get("Phx-Socket-Id"); got != reply.ID {
		con.t.Errorf("socket id %q, want %q", got, reply.ID)
	}
	if got := m.Header.Get("Phx-Assigns"); !con.holds(got, string(reply.Assigns)) {
		con.t.Errorf("assigns %s, want %s", got, reply.Assigns)
	}
}

// checkJoin: who joins gets that response, and is present.
func checkJoin(con *console, c command) {
	var reply struct {
		Response json.RawMessage
		Presence struct{ Key string }
	}
	con.decode(c.body, &reply)
	h := openHand(con.t, con.addr)
	if got := h.join(lobby); !same(con.t, got, string(reply.Response)) {
		con.t.Errorf("response %v, want %s", got, reply.Response)
	}
	h.wantPresent(reply.Presence.Key)
}

// checkHeard makes a check of `nats sub`: provoke has something happen, upon which the command must show a message on that subject, with all that in it.
func checkHeard(provoke func(*console, command) (subject string, said []string)) func(*console, command) {
	return func(con *console, c command) {
		if c.variable != "" {
			heard := con.start(c.line + "\necho \"<$" + c.variable + ">\"")
			con.waitForSubscriber(c)
			provoke(con, c)
			heard.wantOutput("<" + con.channel + ">")
			return
		}
		heard := con.serve(c)
		subject, said := provoke(con, c)
		heard.wantOutput(append(said, `Received on "`+subject+`"`)...)
	}
}

// checkPresenceUpdate: the members are told of the change.
func checkPresenceUpdate(con *console, c command) {
	var update struct {
		Op, Key string
		Meta    map[string]any
	}
	con.decode(c.body, &update)
	h, _ := con.join(lobby)
	own := h.wantPresent("")
	side := "joins"
	switch update.Op {
	case "untrack":
		side = "leaves"
		con.run(strings.Replace(c.line, "untrack", "track", 1)) // of a key that is there
	case "", "update":
		update.Key = own
	}
	con.run(c.line).wantOutput(`{"status":"ok"}`)
	h.until(side+" of "+update.Key, func(s sight) bool {
		var diff map[string]map[string]struct{ Metas []map[string]any }
		if s.Event != "presence_diff" || !s.into(&diff) || len(diff[side][update.Key].Metas) == 0 {
			return false
		}
		for key, value := range update.Meta {
			if fmt.Sprint(diff[side][update.Key].Metas[0][key]) != fmt.Sprint(value) {
				return false
			}
		}
		return true
	})
}

// checkPresenceList: who has joined is in it.
func checkPresenceList(con *console, c command) {
	h, _ := con.join(lobby)
	listed := []string{`"` + h.wantPresent("") + `":{"metas":[{`}
	if c.body != "" {
		listed = append(listed, `"presences":`, `"next":`)
	}
	con.run(c.line).wantOutput(listed...)
}

// topicOf is the topic of a subject phx.<kind>.<T> that needs no decoding.
func topicOf(subject string) string { return strings.Join(strings.Split(subject, ".")[2:], ":") }

// eventOf is the event of a command's phx.event.<E>.<T>.
func eventOf(c command) string { return strings.Split(c.subject, ".")[2] }

// console is a bench with a shell, in which `nats` is the nats CLI.
type console struct {
	bench
	env     []string
	channel string // of who joined last, $CHANNEL
}

// openConsole starts a bench with the rules of gateway dev; cli is the directory of the nats CLI.
func openConsole(t *testing.T, cli string) *console {
	t.Helper()
	rules, err := os.ReadFile(devRules)
	if err != nil {
		t.Fatal(err)
	}
	b := startBench(t, string(rules))
	return &console{bench: *b, env: []string{"PATH=" + cli + ":" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "NATS_URL=" + b.nats.ClientURL()}}
}

// join connects a client that joins a topic. From now on $CHANNEL is its channel.
func (con *console) join(topic string) (h *hand, channel string) {
	con.t.Helper()
	joined := con.subscribe("phx.joined." + strings.ReplaceAll(topic, ":", "."))
	h = openHand(con.t, con.addr)
	h.join(topic)
	con.channel = joined().Header.Get("Phx-Channel")
	con.env = append(slices.Clip(con.env), "CHANNEL="+con.channel)
	return h, con.channel
}

// serve starts a command that listens, and waits until it does.
func (con *console) serve(c command) *running {
	con.t.Helper()
	r := con.start(c.line)
	con.waitForSubscriber(c)
	return r
}

// waitForSubscriber waits until somebody subscribes to the subject that a command names, in the queue that it names.
func (con *console) waitForSubscriber(c command) {
	con.t.Helper()
	clustertest.WaitFor(con.t, "a subscription of "+c.subject, func() bool {
		subs, err := con.nats.Subsz(&server.SubszOptions{Subscriptions: true, Limit: 10_000})
		return err == nil && slices.ContainsFunc(subs.Subs, func(s server.SubDetail) bool { return s.Subject == c.subject && (c.queue == "" || s.Queue == c.queue) })
	})
}

// decode reads a command's body.
func (con *console) decode(body string, into any) {
	con.t.Helper()
	if err := json.Unmarshal([]byte(body), into); err != nil {
		con.t.Fatalf("%s: %v", body, err)
	}
}

// holds tells whether a JSON object has all keys of another, with its values.
func (con *console) holds(object, part string) bool {
	con.t.Helper()
	var all, want map[string]any
	con.decode(object, &all)
	con.decode(part, &want)
	merged := maps.Clone(all)
	maps.Copy(merged, want)
	return fmt.Sprint(merged) == fmt.Sprint(all)
}
