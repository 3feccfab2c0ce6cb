package rules

// NeedsParams reports whether a rule of the topic draws on the join's params, so that a channel must keep them after the join. A presence key is read while the join is still under
// way, and needs them no longer.
func (r *Rule) NeedsParams() bool {
	for _, e := range r.Events {
		for _, a := range e.Set {
			if a.Source.root == rootParams {
				return true
			}
		}
	}
	return false
}
