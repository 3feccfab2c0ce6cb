package gateway

// maxKeptParams is how many bytes of a join's params are kept: as many as of assigns.
const maxKeptParams = MaxAssigns

// keptParams are the params of a loop's channels, kept from join to end where the authorizer decided the join, so that it can be asked again. Equal ones are held once, and {}
// not at all. All loops together hold at most INBOUND_BYTES_TOTAL of them.
type keptParams struct {
	srv *Server
	of  map[*channel]*joinParams // a channel that has none joined with {}
	all map[string]*joinParams
}

// joinParams are the params of one or more joins.
type joinParams struct {
	raw      string // any JSON value
	channels int
	missing  string // why raw was not kept, as a client is told; "" where it was
}

// What is known of params that were not kept.
var (
	paramsTooLarge = &joinParams{missing: reasonPayloadTooLarge}
	paramsTooMany  = &joinParams{missing: reasonOverloaded}
	noParams       = &joinParams{raw: "{}"}
)

func (k *keptParams) init(srv *Server) {
	k.srv, k.of, k.all = srv, map[*channel]*joinParams{}, map[string]*joinParams{}
}

// get returns the params of a channel. Two calls return the same unless they were replaced meanwhile.
func (k *keptParams) get(ch *channel) *joinParams {
	if p := k.of[ch]; p != nil {
		return p
	}
	return noParams
}

// keep puts params in the place of those that a channel had.
func (k *keptParams) keep(ch *channel, raw []byte) {
	k.forget(ch)
	if string(raw) == noParams.raw {
		return
	}
	p := k.all[string(raw)]
	switch size := int64(len(raw)); {
	case p != nil:
	case size > maxKeptParams:
		p = paramsTooLarge
	case k.srv.paramsBytes.Load()+size > int64(k.srv.cfg.InboundBytesTotal):
		p = paramsTooMany
	default:
		k.srv.paramsBytes.Add(size)
		p = &joinParams{raw: string(raw)}
		k.all[p.raw] = p
	}
	if p.missing == "" {
		p.channels++
	}
	k.of[ch] = p
}

// forget lets the params of a channel go.
func (k *keptParams) forget(ch *channel) {
	p := k.of[ch]
	if p == nil {
		return
	}
	delete(k.of, ch)
	if p.missing != "" {
		return
	}
	if p.channels--; p.channels == 0 {
		delete(k.all, p.raw)
		k.srv.paramsBytes.Add(-int64(len(p.raw)))
	}
}
