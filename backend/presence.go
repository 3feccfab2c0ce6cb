package backend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/nats-io/nats.go"

	"github.com/phxgate/phxgate/backend/internal/wire"
)

// presencePage is how many keys Presences asks for at once: with the largest metas (4 KiB) they fit into a message of NATS's usual 1 MiB.
const presencePage = 200

// Present is one key of a topic's presences: a meta for each channel tracked under it, phx_ref included.
type Present struct {
	Metas []json.RawMessage `json:"metas"`
}

// Presences returns who is on a topic, by key, as presence_state has it. It asks page by page: who comes or goes meanwhile may be in it or not.
// Errors: ErrInvalidTopic, ErrNoService, *PresenceError, and those of nats.go and ctx.
func (b *Backend) Presences(ctx context.Context, topic string) (map[string]Present, error) {
	all := map[string]Present{}
	for after := ""; ; {
		page, next, err := b.PresencesPage(ctx, topic, after, presencePage)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, page)
		if next == "" {
			return all, nil
		}
		if next <= after {
			return nil, fmt.Errorf("presences of %q: the page after %q ends at %q", topic, after, next)
		}
		after = next
	}
}

// PresencesPage returns up to limit keys that come after a key ("": from the first on), and what to go on after, empty if that was all. Errors are those of Presences.
func (b *Backend) PresencesPage(ctx context.Context, topic, after string, limit int) (page map[string]Present, next string, err error) {
	request := map[string]any{"limit": limit}
	if after != "" {
		request["after"] = after
	}
	var reply struct {
		Presences map[string]Present `json:"presences"`
		Next      *string            `json:"next"`
		Error     string             `json:"error"`
	}
	if err := b.askPresence(ctx, "list", topic, request, &reply); err != nil {
		return nil, "", err
	}
	switch {
	case reply.Error != "":
		return nil, "", &PresenceError{Reason: reply.Error}
	case reply.Presences == nil:
		return nil, "", fmt.Errorf("presence list %q: an answer without presences", topic)
	case reply.Next != nil:
		next = *reply.Next
	}
	return reply.Presences, next, nil
}

// Track tracks a channel under a key, with a meta that encodes to a JSON object (nil: an empty one). Errors are those of Presences, and ErrInvalidChannel.
func (b *Backend) Track(ctx context.Context, topic, channel, key string, meta any) error {
	return b.updatePresence(ctx, "track", topic, channel, key, meta)
}

// Update replaces the meta of a tracked channel. An empty key is the one that the channel joined with. Errors are Track's.
func (b *Backend) Update(ctx context.Context, topic, channel, key string, meta any) error {
	return b.updatePresence(ctx, "update", topic, channel, key, meta)
}

// Untrack ends Track. To untrack what is not there is no error. An empty key is the one that the channel joined with. Errors are Track's.
func (b *Backend) Untrack(ctx context.Context, topic, channel, key string) error {
	return b.updatePresence(ctx, "untrack", topic, channel, key, nil)
}

func (b *Backend) updatePresence(ctx context.Context, op, topic, channel, key string, meta any) error {
	if !wire.ValidChannel(channel) {
		return fmt.Errorf("presence %s %q: %w", op, channel, ErrInvalidChannel)
	}
	request := map[string]any{"channel": channel, "op": op}
	if key != "" {
		request["key"] = key
	}
	if op != "untrack" {
		body, binary, err := encodeObject(meta)
		if err == nil && binary {
			err = fmt.Errorf("%w: %w", ErrInvalidPayload, errBinary)
		}
		if err != nil {
			return fmt.Errorf("presence %s: meta: %w", op, err)
		}
		request["meta"] = json.RawMessage(body)
	}
	var reply struct {
		Status string `json:"status"`
		Reason string `json:"reason"`
	}
	if err := b.askPresence(ctx, "update", topic, request, &reply); err != nil {
		return err
	}
	if reply.Status != StatusOK {
		return &PresenceError{Reason: reply.Reason}
	}
	return nil
}

// askPresence makes one request to the presence service. A ctx without a deadline gets Options.Timeout.
func (b *Backend) askPresence(ctx context.Context, what, topic string, request, reply any) error {
	if !wire.ValidTopic(topic) {
		return fmt.Errorf("presence %s %q: %w", what, topic, ErrInvalidTopic)
	}
	if _, ok := ctx.Deadline(); !ok {
		limited, cancel := context.WithTimeout(ctx, b.opts.Timeout)
		defer cancel()
		ctx = limited
	}
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("presence %s %q: %w", what, topic, err)
	}
	msg := &nats.Msg{Subject: b.subject("presence."+what, wire.Topic(topic)), Data: body}
	trace(ctx, msg)
	answer, err := b.conn.RequestMsgWithContext(ctx, msg)
	if errors.Is(err, nats.ErrNoResponders) {
		err = ErrNoService
	}
	if err == nil {
		err = json.Unmarshal(answer.Data, reply)
	}
	if err != nil {
		return fmt.Errorf("presence %s %q: %w", what, topic, err)
	}
	return nil
}
