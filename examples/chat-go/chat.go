package main

import (
	"context"
	"crypto/subtle"
	"errors"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/phxgate/phxgate/backend"
)

const (
	historySize = 50    // messages pushed to whoever joins
	maxName     = 40    // characters of a user's name
	maxBody     = 2_000 // characters of a message
	maxMute     = 7 * 24 * time.Hour
)

// Roles. A moderator may delete every message, and kick everybody out or mute them.
const (
	member    = "member"
	moderator = "moderator"
)

// chat is the application.
type chat struct {
	*backend.Backend
	store          *store
	moderatorToken string // empty: there are no moderators
}

// user is the assigns of a socket.
type user struct {
	Name string `json:"name"`
	Role string `json:"role"`
}

// socketID is what Leave takes to find somebody's sockets.
func socketID(name string) string { return "user_socket:" + name }

func (c *chat) register() {
	c.AuthorizeConnect(c.connect)
	c.Topic("room:*").
		AuthorizeJoin(c.join).
		Joined(c.joined).
		Cast("typing", c.typing).
		Handle("new_msg", c.newMessage).
		Handle("delete_msg", c.deleteMessage).
		Handle("kick", c.kick).
		Handle("mute", c.mute).
		Handle("who", c.who)
}

// connect lets everybody in under the name they give themselves. A service with accounts would look at r.AuthToken or r.Claims instead.
func (c *chat) connect(_ context.Context, r *backend.ConnectRequest) (backend.ConnectReply, error) {
	var params struct{ Name, Moderator string }
	if err := r.Decode(&params); err != nil {
		return backend.ConnectReply{}, err
	}
	name := strings.TrimSpace(params.Name)
	if name == "" || utf8.RuneCountInString(name) > maxName {
		return backend.ConnectReply{}, backend.Refuse{Reason: "a name of 1 to 40 characters is needed"}
	}
	who := user{Name: name, Role: member}
	if c.moderatorToken != "" && subtle.ConstantTimeCompare([]byte(params.Moderator), []byte(c.moderatorToken)) == 1 {
		who.Role = moderator
	}
	return backend.ConnectReply{ID: socketID(name), Assigns: who}, nil
}

// join lets those in who were not kicked out, and tracks them.
func (c *chat) join(ctx context.Context, r *backend.JoinRequest) (backend.JoinReply, error) {
	var who user
	if err := r.DecodeAssigns(&who); err != nil {
		return backend.JoinReply{}, err
	}
	banned, err := c.store.banned(ctx, r.Topic, who.Name)
	if err != nil {
		return backend.JoinReply{}, err
	}
	if banned {
		return backend.JoinReply{}, backend.Refuse{Reason: "banned"}
	}
	gateway, _, _ := strings.Cut(r.Channel, ".")
	return backend.JoinReply{
		Response: map[string]string{"name": who.Name, "role": who.Role, "gateway": gateway},
		Presence: &backend.Presence{Key: who.Name, Meta: map[string]string{"role": who.Role}},
	}, nil
}

// joined pushes the history. It may hold a message that is broadcast as well: clients know messages by their ids.
func (c *chat) joined(ctx context.Context, e *backend.Event) error {
	messages, err := c.store.last(ctx, e.Topic, historySize)
	if err != nil {
		return err
	}
	return c.Push(ctx, e.Channel, "history", map[string]any{"messages": messages})
}

func (c *chat) typing(ctx context.Context, e *backend.Event) error {
	var who user
	if err := e.DecodeAssigns(&who); err != nil {
		return err
	}
	return c.Broadcast(ctx, e.Topic, "typing", map[string]string{"name": who.Name}, backend.From(e.Channel))
}

// newMessage keeps a message, then tells everybody, then answers its author with the id.
func (c *chat) newMessage(ctx context.Context, e *backend.Event) (backend.Reply, error) {
	var said struct{ Body string }
	who, err := c.read(e, &said)
	if err != nil {
		return backend.Reply{}, err
	}
	if n := utf8.RuneCountInString(said.Body); n == 0 || n > maxBody {
		return backend.Reply{}, backend.Refuse{Reason: "invalid body"}
	}
	muted, err := c.store.muted(ctx, e.Topic, who.Name)
	if err != nil {
		return backend.Reply{}, err
	}
	if muted {
		return backend.Reply{}, backend.Refuse{Reason: "muted"}
	}
	m, err := c.store.add(ctx, e.Topic, who.Name, said.Body)
	if err != nil {
		return backend.Reply{}, err
	}
	return backend.OK(map[string]int64{"id": m.ID}), c.Broadcast(ctx, e.Topic, "new_msg", m)
}

// deleteMessage is for authors and moderators.
func (c *chat) deleteMessage(ctx context.Context, e *backend.Event) (backend.Reply, error) {
	var which struct {
		ID int64 `json:"id"`
	}
	who, err := c.read(e, &which)
	if err != nil {
		return backend.Reply{}, err
	}
	author, ok, err := c.store.author(ctx, e.Topic, which.ID)
	switch {
	case err != nil:
		return backend.Reply{}, err
	case !ok:
		return backend.Reply{}, backend.Refuse{Reason: "not found"}
	case author != who.Name && who.Role != moderator:
		return backend.Reply{}, backend.Refuse{Reason: "unauthorized"}
	}
	if err := c.store.delete(ctx, e.Topic, which.ID); err != nil {
		return backend.Reply{}, err
	}
	return backend.Reply{}, c.Broadcast(ctx, e.Topic, "msg_deleted", which)
}

// kick bans somebody from the room, tells the others, and closes the channels that they have there.
func (c *chat) kick(ctx context.Context, e *backend.Event) (backend.Reply, error) {
	var whom struct {
		Name string `json:"name"`
	}
	if err := c.moderate(e, &whom, &whom.Name); err != nil {
		return backend.Reply{}, err
	}
	if err := c.store.ban(ctx, e.Topic, whom.Name); err != nil {
		return backend.Reply{}, err
	}
	return backend.Reply{}, errors.Join(c.Broadcast(ctx, e.Topic, "kicked", whom), c.Leave(ctx, socketID(whom.Name), e.Topic))
}

// mute keeps somebody from writing in the room for some seconds, 0 to end that, and tells everybody.
func (c *chat) mute(ctx context.Context, e *backend.Event) (backend.Reply, error) {
	var whom struct {
		Name    string `json:"name"`
		Seconds int64  `json:"seconds"`
	}
	if err := c.moderate(e, &whom, &whom.Name); err != nil {
		return backend.Reply{}, err
	}
	if whom.Seconds < 0 || whom.Seconds > int64(maxMute/time.Second) {
		return backend.Reply{}, backend.Refuse{Reason: "invalid seconds"}
	}
	if err := c.store.mute(ctx, e.Topic, whom.Name, time.Now().UnixMilli()+whom.Seconds*1000); err != nil {
		return backend.Reply{}, err
	}
	return backend.Reply{}, c.Broadcast(ctx, e.Topic, "muted", whom)
}

// moderate reads what a moderator asks about somebody, whose name is a part of the payload; others are refused.
func (c *chat) moderate(e *backend.Event, payload any, name *string) error {
	who, err := c.read(e, payload)
	switch {
	case err != nil:
		return err
	case who.Role != moderator:
		return backend.Refuse{Reason: "unauthorized"}
	case *name == "" || utf8.RuneCountInString(*name) > maxName:
		return backend.Refuse{Reason: "invalid name"}
	}
	return nil
}

// who answers with the names of those present.
func (c *chat) who(ctx context.Context, e *backend.Event) (backend.Reply, error) {
	present, err := c.Presences(ctx, e.Topic)
	if errors.Is(err, backend.ErrNoService) {
		return backend.Reply{}, backend.Refuse{Reason: "no presence service"}
	}
	return backend.OK(map[string]any{"present": present}), err
}

// read reads what an event carries, and who sent it.
func (c *chat) read(e *backend.Event, payload any) (who user, err error) {
	if err := e.DecodeAssigns(&who); err != nil {
		return who, err
	}
	return who, e.Decode(payload)
}
