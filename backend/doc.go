// Package backend is for services behind phxgate gateways: what a Phoenix channel module does, as Go functions and over NATS.
//
//	b, err := backend.New(nc, backend.Options{Queue: "chat"})
//	room := b.Topic("room:*")
//	room.AuthorizeJoin(func(ctx context.Context, r *backend.JoinRequest) (backend.JoinReply, error) {
//		return backend.JoinReply{Presence: &backend.Presence{Key: r.Socket.ID}}, nil
//	})
//	room.Handle("new_msg", func(ctx context.Context, e *backend.Event) (backend.Reply, error) {
//		var m Message
//		if err := e.Decode(&m); err != nil {
//			return backend.Reply{}, err
//		}
//		return backend.OK(m), b.Broadcast(ctx, e.Topic, "new_msg", m)
//	})
//	err = b.Serve(ctx)
//
// It hides no subject: all it does is in docs/contract.md and can be done by hand, and it may be used for the half of it only. Topic, Handle, AuthorizeJoin and their
// like say what is served, Serve subscribes to exactly that; Broadcast, Push and the rest of publish.go, and the presence requests, need no Serve.
//
// # Which handler
//
// Of the topics that were given to Topic the first whose pattern matches takes an event, of its handlers the first whose event matches. An event that none of them takes is
// left alone: another backend may have it. A pattern that ends within a part ("room:a*"), or an event pattern ("typing*"), makes NATS deliver the neighbours' events too;
// then a gateway answers a call that nobody takes with "timeout" in place of "no backend".
//
// Of all backends with one Options.Queue one gets a message. They should all serve the same; services that serve different topics need different queues.
//
// # Order
//
// What came for one channel is handled in the order it came: joined, its events, left. Other channels never wait for it: up to Options.Workers handlers run
// at once. (Several backends of one queue share a channel's events; a gateway sends the next when the last was answered, but casts at once.) HandleConcurrent gives the
// order up, for rules that say `concurrent: true`. What a handler publishes reaches a client in the order of the calls, and before the handler's reply.
//
// # Errors
//
// A handler's error that is, or wraps, a Refuse is told to the client, and all goes on. Any other error, and a panic, is logged and does what an exception does in Phoenix: the
// channel crashes, the client gets phx_error and rejoins. The process lives. In an AuthorizeConnect or AuthorizeJoin it fails closed: the client is told that authorization is unavailable.
// A reply that cannot be encoded, or is larger than NATS takes, is such an error too.
//
// # Testing
//
// Handlers are functions of data. Package backendtest runs them as a gateway would, without a server, and shows what they answered and published.
package backend
