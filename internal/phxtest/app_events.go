package phxtest

import (
	"encoding/json"

	"github.com/nats-io/nats.go"
)

// payload is what an event, a reply or a push carries: JSON text, or any
// bytes where binary is set.
type payload struct {
	body   []byte
	binary bool
}

// apply puts the payload into a message.
func (p payload) apply(msg *nats.Msg) *nats.Msg {
	msg.Data = p.body
	if p.binary {
		msg.Header.Set("Phx-Encoding", "binary")
	}
	return msg
}

// event does what the transcripts' table says for one event. It never waits:
// the next event of every channel is behind it.
func (a *App) event(msg *nats.Msg, topic string) {
	name, err := ParseHeaderValue(msg.Header.Get("Phx-Event"))
	if err != nil {
		a.t.Errorf("app: Phx-Event: %v", err)
	}
	channel := msg.Header.Get("Phx-Channel")
	in := payload{body: msg.Data, binary: msg.Header.Get("Phx-Encoding") == "binary"}
	params := object(msg.Data)
	switch name {
	case "ok":
		a.reply(msg, "", "", payload{})
	case "echo":
		a.reply(msg, "ok", "", in)
	case "fail":
		a.reply(msg, "error", "", in)
	case "status":
		a.reply(msg, text(params["status"]), "", payload{})
	case "silent":
		a.reply(msg, "none", "", payload{})
	case "later":
		a.reply(msg, "none", "", payload{})
		a.later(channel, msg.Header.Get("Phx-Ref"), params)
	case "shout":
		a.broadcast(topic, "shout", in, "")
		a.reply(msg, "", "", payload{})
	case "shout_others":
		a.broadcast(topic, "shout", in, channel)
		a.reply(msg, "", "", payload{})
	case "push":
		a.push(channel, "pushed", in)
		a.reply(msg, "", "", payload{})
	case "stop":
		switch text(params["reason"]) {
		case "normal", "shutdown":
			a.reply(msg, "none", "close", payload{})
		default:
			a.reply(msg, "", "crash", payload{})
		}
	case "stop_reply":
		a.reply(msg, "ok", "close", in)
	case "track", "update", "untrack":
		a.presence(msg, topic, name, channel, params)
	case "kick":
		a.disconnect(text(params["id"]))
		a.reply(msg, "none", "", payload{})
	default: // "crash" among them
		a.reply(msg, "", "crash", payload{})
	}
}

// reply answers a call; empty status and action are left out.
func (a *App) reply(msg *nats.Msg, status, action string, p payload) {
	reply := nats.NewMsg(msg.Reply)
	setHeader(reply, "Phx-Status", status)
	setHeader(reply, "Phx-Action", action)
	a.publish(p.apply(reply))
}

// later replies ok to the push with that ref when its ms have passed. A push
// without a ref that headers carry cannot be answered late.
func (a *App) later(channel, ref string, params map[string]json.RawMessage) {
	if ref == "" {
		return
	}
	a.tasks.Go(func() {
		if !a.after(milliseconds(params["ms"])) {
			return
		}
		reply := nats.NewMsg(a.prefix + ".channel." + channel)
		reply.Header.Set("Phx-Ref", ref)
		reply.Header.Set("Phx-Status", "ok")
		a.publish(payload{body: []byte(`{}`)}.apply(reply))
	})
}

// presence orders a change of the channel's presence, and replies ok whatever
// came of it, as the transcripts' application does.
func (a *App) presence(msg *nats.Msg, topic, op, channel string, params map[string]json.RawMessage) {
	order := map[string]any{"channel": channel, "op": op, "key": text(params["key"])}
	if meta, ok := params["meta"]; ok {
		order["meta"] = meta
	}
	body, err := encodeJSON(order)
	if err != nil {
		a.t.Errorf("app: %v: %v", order, err)
		return
	}
	a.tasks.Go(func() { // it waits for the presence service
		if _, err := a.nc.RequestWithContext(a.ctx, a.prefix+".presence.update."+topic, body); err != nil && a.ctx.Err() == nil {
			a.t.Logf("app: presence %s: %v", body, err)
		}
		a.reply(msg, "", "", payload{})
	})
}

// push sends an event to one channel.
func (a *App) push(channel, event string, p payload) {
	msg := nats.NewMsg(a.prefix + ".channel." + channel)
	msg.Header.Set("Phx-Event", HeaderValue(event))
	a.publish(p.apply(msg))
}

// broadcast sends an event to a topic, given as its subject tokens, but not
// to the channel from.
func (a *App) broadcast(topic, event string, p payload, from string) {
	msg := nats.NewMsg(a.prefix + ".topic." + topic)
	msg.Header.Set("Phx-Event", HeaderValue(event))
	setHeader(msg, "Phx-From", from)
	a.publish(p.apply(msg))
}

// disconnect closes every socket of an id.
func (a *App) disconnect(socketID string) {
	msg := nats.NewMsg(a.prefix + ".socket." + Token(socketID))
	msg.Header.Set("Phx-Action", "disconnect")
	a.publish(msg)
}

func setHeader(msg *nats.Msg, name, value string) {
	if value != "" {
		msg.Header.Set(name, value)
	}
}
