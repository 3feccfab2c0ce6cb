package gateway

import (
	"strconv"
	"strings"
)

// channelID is a channel's place on this gateway: the parts of `<gateway id>.<socket uid>.<n>` after the gateway id. The socket uid is
// loop, slot and generation in one number, so that a message for a channel needs no table to find it.
type channelID struct {
	loop      uint8
	slot, gen uint32
	n         uint32
}

// slotBits is how much of a uid is slot number: 16 million sockets a loop.
const slotBits = 24

func (id channelID) uid() uint64 {
	return uint64(id.gen)<<(slotBits+8) | uint64(id.loop)<<slotBits | uint64(id.slot)
}

// format returns the channel id of the contract.
func (id channelID) format(gateway string) string {
	b := make([]byte, 0, len(gateway)+32)
	b = append(append(b, gateway...), '.')
	b = strconv.AppendUint(b, id.uid(), 36)
	b = append(b, '.')
	return string(strconv.AppendUint(b, uint64(id.n), 36))
}

// parseChannelID reads a channel id of this gateway; false if it is another's or none.
func parseChannelID(gateway, s string) (channelID, bool) {
	rest, ok := strings.CutPrefix(s, gateway)
	if !ok || rest == "" || rest[0] != '.' {
		return channelID{}, false
	}
	uid, n, ok := strings.Cut(rest[1:], ".")
	if !ok {
		return channelID{}, false
	}
	u, err := strconv.ParseUint(uid, 36, 64)
	if err != nil {
		return channelID{}, false
	}
	i, err := strconv.ParseUint(n, 36, 32)
	if err != nil {
		return channelID{}, false
	}
	id := channelID{loop: uint8(u >> slotBits), slot: uint32(u & (1<<slotBits - 1)), gen: uint32(u >> (slotBits + 8)), n: uint32(i)}
	// One spelling each: ParseUint takes upper case and leading zeros.
	return id, id.format(gateway) == s
}

// channel finds a channel by its id; nil if it is gone or not this loop's.
func (l *loop) channel(id channelID) *channel {
	s := l.lookup(id.slot, id.gen)
	if s == nil {
		return nil
	}
	for _, ch := range s.channels {
		if ch.n == id.n {
			return ch
		}
	}
	return nil
}

// id is the channel's id.
func (ch *channel) id() string {
	s := ch.socket
	return channelID{loop: uint8(s.loop.id), slot: s.slot, gen: s.gen, n: ch.n}.format(s.loop.srv.cfg.ID)
}
