package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/internal/clustertest"
	"github.com/phxgate/phxgate/internal/phxtest"
)

const exerciseRules = `
channels:
  - topic: "room:*"
    join: authz
    events:
      - {event: shout, do: broadcast}
      - {event: whisper, do: broadcast_from}
      - {event: seen, do: cast}
      - {event: access_token, do: reauthorize}
      - {event: "*", do: call}
`

// exercise is a room with Ann in it, and a backend that answers everything that is asked.
type exercise struct {
	bench
	ann     *phxtest.Client
	channel string          // Ann's of room:lobby
	broken  map[string]bool // subject and body of what was sent broken on purpose
}

// exercises use the subjects of the contract, each message of the document at least once. What follows of them is waited for.
var exercises = []struct {
	name string
	run  func(*exercise)
}{
	{"connect and join", func(e *exercise) {
		phxtest.WantRefused(e.t, e.socket("nobody"), 403)
		bob := phxtest.Dial(e.t, e.socket(""), phxtest.Header("User-Agent", "exercise"))
		bob.WantReply(bob.StartJoin("room:closed", struct{}{}), "error")
		bob.Join("room:é ü", []int{1})
		bob.Leave("room:é ü")
		traced := phxtest.Dial(e.t, e.socket("traced"), phxtest.Header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), phxtest.Header("tracestate", "a=1"))
		traced.Join("room:traced", struct{}{})
		traced.Call("room:traced", "ok", struct{}{}, "ok")
		traced.Leave("room:traced")
	}},
	{"broadcasts of clients", func(e *exercise) {
		e.ann.Push(lobby, "shout", map[string]int{"a": 1})
		e.wantEvent(e.ann, lobby, "shout")
		e.ann.Push(lobby, "whisper", struct{}{})
		e.ann.SendBinary(binaryPush("whisper"))
		e.ann.SendBinary(binaryPush("shout"))
		e.wantEvent(e.ann, lobby, "shout")
	}},
	{"broadcasts of backends", func(e *exercise) {
		e.publish("phx.topic.room.lobby", `{"a":1}`, "Phx-Event", "news", "Phx-From", "g.s.1", "Phx-Encoding", "json")
		e.wantEvent(e.ann, lobby, "news")
		e.publish("phx.topic.room.lobby", "\x00\xff", "Phx-Event", "bytes", "Phx-Encoding", "binary", "Phx-From", "g.s.1")
		e.wantEvent(e.ann, lobby, "bytes")
		e.publish("phx.topic.room.lobby", `{"event":"news","payload":{"a":1},"from":null,"more":1}`)
		e.wantEvent(e.ann, lobby, "news")
	}},
	{"calls and casts", func(e *exercise) {
		e.ann.Call(lobby, "ok", map[string]string{"é": "ü"}, "ok")
		e.ann.Call(lobby, "no", nil, "error")
		e.ann.Call(lobby, "empty", "text", "ok")
		e.ann.Call(lobby, "bytes", struct{}{}, "ok")
		e.ann.Call(lobby, "micro", struct{}{}, "error")
		e.ann.SendBinary(binaryPush("ok"))
		e.ann.WantReply("9", "ok")
		e.ann.Push(lobby, "seen", struct{}{})
		e.ann.Call(lobby, "ok é", struct{}{}, "ok") // behind the cast
	}},
	{"authorization again", func(e *exercise) {
		e.ann.Call(lobby, "access_token", map[string]string{"token": "x"}, "ok")
		for _, subject := range []string{"phx.authz.recheck.topic.room.lobby", "phx.authz.recheck.socket.user=3Aann"} {
			asked := e.subscribe("phx.authz.join")
			e.publish(subject, "")
			asked()
		}
		batches, err := e.nc.SubscribeSync("phx.authz.joins")
		if err != nil {
			e.t.Fatal(err)
		}
		clustertest.WaitFor(e.t, "joins that are asked about together", func() bool { // when the gateway knows that somebody answers them
			bob := phxtest.Dial(e.t, e.socket("bob"), phxtest.Header("tracestate", "a=1"), phxtest.Header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
			bob.SendRaw(slices.Concat(clientText(`["1","1","room:x","phx_join",{}]`), clientText(`["2","2","room:closed","phx_join",{}]`), clientText(`["3","3","room:y","phx_join",{}]`)))
			for range 3 {
				bob.Recv(phxtest.Patience())
			}
			for {
				m, err := batches.NextMsg(time.Millisecond) // what was answered has come
				if err != nil {
					return false
				}
				if strings.Contains(string(m.Data), "room:y") {
					return true
				}
			}
		})
	}},
	{"one channel", func(e *exercise) {
		e.publish("phx.channel."+e.channel, `{"a":1}`, "Phx-Event", "pushed", "Phx-Encoding", "json")
		e.wantEvent(e.ann, lobby, "pushed")
		e.publish("phx.channel."+e.channel, "\x00\xff", "Phx-Event", "bytes", "Phx-Encoding", "binary")
		e.wantEvent(e.ann, lobby, "bytes")
		ref := e.ann.Push(lobby, "later", struct{}{})
		e.publish("phx.channel."+e.channel, `[1]`, "Phx-Ref", ref, "Phx-Status", "ok", "Phx-Encoding", "json")
		e.ann.WantReply(ref, "ok")
		bob := phxtest.Dial(e.t, e.socket("bob"))
		for _, action := range []string{"close", "crash"} {
			e.publish("phx.channel."+e.join(bob, "room:ends"), "", "Phx-Action", action)
			e.wantEvent(bob, "room:ends", "phx_"+map[string]string{"close": "close", "crash": "error"}[action])
		}
		bob.Join("room:ends", struct{}{})
		bob.Call("room:ends", "close", struct{}{}, "ok")
	}},
	{"one socket", func(e *exercise) {
		for _, header := range []string{"Phx-Action", "Phx-Event"} {
			cid := phxtest.Dial(e.t, e.socket("cid é"))
			cid.Join("room:1", struct{}{})
			if header == "Phx-Action" {
				e.publish("phx.socket.user=3Acid=20=C3=A9", "", "Phx-Action", "leave", "Phx-Topic", "room:1")
				e.wantEvent(cid, "room:1", "phx_close")
			}
			e.publish("phx.socket.user=3Acid=20=C3=A9", "", header, "disconnect")
			cid.WantClosed(1001)
		}
	}},
	{"presence", func(e *exercise) {
		list := func(request string) string { return e.ask("phx.presence.list.room.lobby", request) }
		clustertest.WaitFor(e.t, "Ann's presence", func() bool { return strings.Contains(list(""), "ann") })
		list(`{"limit":1}`)
		list(`{"limit":1,"after":"a"}`)
		e.breaking("phx.presence.list.room.lobby", "[]")
		list("[]")
		for _, update := range []string{`"meta":{"a":1}`, `"op":"track","key":"phone"`, `"op":"track","key":"phone"`, `"op":"untrack","key":"phone"`} {
			e.ask("phx.presence.update.room.lobby", `{"channel":"`+e.channel+`",`+update+`}`)
		}
	}},
	{"bad publish", func(e *exercise) {
		told := e.subscribe("phx.dropped")
		e.ann.Join("room:bad", struct{}{})
		e.breaking("phx.topic.room.bad", "no JSON")
		e.publish("phx.topic.room.bad", "no JSON")
		told()
	}},
	{"lost gateway", func(e *exercise) {
		doomed := e.gateway("doomed")
		phxtest.Dial(e.t, "ws://"+doomed.addr+"/socket/websocket?vsn=2.0.0&name=dora").Join("room:lost", struct{}{})
		clustertest.WaitFor(e.t, "her presence", func() bool { return strings.Contains(e.ask("phx.presence.list.room.lost", ""), "dora") })
		lost, left := e.subscribe("phx.gateway.lost"), e.subscribe("phx.left.room.lost")
		doomed.signal(syscall.SIGKILL)
		doomed.wantEnd(-1)
		lost()
		left()
	}},
}

// newExercise starts the backend and has Ann join room:lobby.
func newExercise(b *bench) *exercise {
	b.t.Helper()
	e := &exercise{bench: *b, broken: map[string]bool{}}
	for subject, respond := range map[string]func(*nats.Msg) (body string, headers []string){
		"phx.authz.connect": func(m *nats.Msg) (string, []string) {
			var r struct{ Params struct{ Name string } }
			switch _ = json.Unmarshal(m.Data, &r); r.Params.Name { // the document is held against it
			case "nobody":
				return `{"allow":false,"reason":"nobody"}`, nil
			case "":
				return `{"allow":true}`, nil
			}
			return `{"allow":true,"id":"user:` + r.Params.Name + `","assigns":{"name":"` + r.Params.Name + `"},"expires_at":4102444800}`, nil
		},
		"phx.authz.join": func(m *nats.Msg) (string, []string) { return decideJoin(m.Data), nil },
		"phx.authz.joins": func(m *nats.Msg) (string, []string) {
			var batch struct{ Joins []json.RawMessage }
			_ = json.Unmarshal(m.Data, &batch) // the document is held against it
			replies := make([]string, len(batch.Joins))
			for i, join := range batch.Joins {
				if replies[i] = decideJoin(join); i == 2 {
					replies[i] = "null" // to be asked about alone
				}
			}
			return `{"joins":[` + strings.Join(replies, ",") + `]}`, nil
		},
		"phx.event.*.room.>": func(m *nats.Msg) (string, []string) {
			switch m.Header.Get("Phx-Event") {
			case "no":
				return `{"reason":"no"}`, []string{"Phx-Status", "error"}
			case "empty":
				return "", []string{"Phx-Status", "ok", "Phx-Encoding", "json"}
			case "bytes":
				return "\x00\xff", []string{"Phx-Encoding", "binary"}
			case "micro":
				return "", []string{"Nats-Service-Error", "broken", "Nats-Service-Error-Code", "500"}
			case "close":
				return `{}`, []string{"Phx-Action", "close"}
			case "later":
				return "", []string{"Phx-Status", "none"}
			}
			return `{"n":1}`, []string{"Phx-Status", "ok", "Phx-Assigns", `{"n":1}`, "Phx-Encoding", "json"}
		},
	} {
		if _, err := b.nc.Subscribe(subject, func(m *nats.Msg) {
			if m.Reply != "" { // a cast has none
				body, headers := respond(m)
				e.publish(m.Reply, body, headers...)
			}
		}); err != nil {
			b.t.Fatal(err)
		}
	}
	flush(b.t, b.nc)
	e.ann = phxtest.Dial(b.t, e.socket("ann"))
	e.channel = e.join(e.ann, lobby)
	return e
}

// decideJoin answers one join request.
func decideJoin(request []byte) string {
	var r struct {
		Topic  string
		Socket struct{ Assigns struct{ Name string } }
	}
	if _ = json.Unmarshal(request, &r); r.Topic == "room:closed" { // the document is held against it
		return `{"status":"error","response":{"reason":"closed"}}`
	}
	if r.Socket.Assigns.Name == "" {
		return `{"status":"ok","events":[]}`
	}
	return `{"status":"ok","response":{},"assigns":{"role":"é"},"presence":{"key":"` + r.Socket.Assigns.Name + `","meta":{}},"expires_at":4102444800}`
}

// clientText is a text frame as a client sends it, its mask all zeros.
func clientText(text string) []byte {
	return slices.Concat([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, []byte(text)) // of less than 126 bytes
}

// binaryPush is a frame of V2 that pushes two bytes in room:lobby, with the join_ref 1 and the ref 9.
func binaryPush(event string) []byte {
	return slices.Concat([]byte{0, 1, 1, byte(len(lobby)), byte(len(event))}, []byte("1"+"9"+lobby+event), []byte{1, 0xff})
}

func (e *exercise) socket(name string) string {
	query := "vsn=2.0.0"
	if name != "" {
		query += "&name=" + strings.ReplaceAll(name, " ", "%20")
	}
	return "ws://" + e.addr + "/socket/websocket?" + query
}

// join has a client join and returns the id of its channel.
func (e *exercise) join(c *phxtest.Client, topic string) (channel string) {
	e.t.Helper()
	joined := e.subscribe("phx.joined." + phxtest.TopicTokens(topic))
	c.Join(topic, map[string]int{"a": 1})
	return joined().Header.Get("Phx-Channel")
}

// breaking says that a message, which will be sent, is not what the contract allows.
func (e *exercise) breaking(subject, body string) { e.broken[subject+"\n"+body] = true }

func (e *exercise) isBroken(m *nats.Msg) bool { return e.broken[m.Subject+"\n"+string(m.Data)] }

// publish publishes a body with headers, names and values in turn.
func (e *exercise) publish(subject, body string, headers ...string) {
	m := nats.NewMsg(subject)
	m.Data = []byte(body)
	for i := 0; i < len(headers); i += 2 {
		m.Header.Set(headers[i], headers[i+1])
	}
	if err := e.nc.PublishMsg(m); err != nil {
		e.t.Errorf("publish %s: %v", subject, err)
	}
}

// ask makes a request and returns the answer.
func (e *exercise) ask(subject, body string) string {
	e.t.Helper()
	answer, err := e.nc.Request(subject, []byte(body), phxtest.Patience())
	if err != nil {
		e.t.Fatalf("%s: %v", subject, err)
	}
	return string(answer.Data)
}

// wantEvent waits until a client gets an event.
func (e *exercise) wantEvent(c *phxtest.Client, topic, event string) {
	e.t.Helper()
	for {
		m, err := phxtest.ParseMessage(c.Recv(phxtest.Patience()))
		if err == nil && m.Topic == topic && m.Event == event {
			return
		}
	}
}

// record keeps everything that passes on the server from now on; the function that it returns ends that, and returns it in its order.
func (b *bench) record() (passed func() []*nats.Msg) {
	b.t.Helper()
	nc := dialNATS(b.t, b.nats.ClientURL())
	var mu sync.Mutex
	var all []*nats.Msg
	sub, err := nc.Subscribe(">", func(m *nats.Msg) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, m)
	})
	if err == nil {
		err = sub.SetPendingLimits(-1, -1)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	flush(b.t, nc)
	return func() []*nats.Msg {
		flush(b.t, b.nc) // what was published is at the server
		flush(b.t, nc)   // and here
		nc.Close()       // no callback runs after this
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}
