package settings

import (
	"fmt"
	"strconv"

	"github.com/phxgate/phxgate/nats"
)

// Presence are the settings of the presence service; embed it.
type Presence struct {
	Merge    Pause    `env:"PRESENCE_MERGE" envDefault:"50ms" help:"how long changes of a busy topic are gathered into one diff; 0s: never"`
	Replicas replicas `env:"PRESENCE_REPLICAS" envDefault:"1" help:"of the KV bucket, 1 to 5"`
	Storage  storage  `env:"PRESENCE_STORAGE" envDefault:"file" help:"of the KV bucket, file or memory"`
}

// Bucket is what the bucket is made with.
func (p *Presence) Bucket() nats.BucketConfig {
	return nats.BucketConfig{Replicas: int(p.Replicas), Memory: p.Storage == "memory"}
}

type replicas int

func (r *replicas) UnmarshalText(b []byte) error {
	n, err := strconv.Atoi(string(b))
	if err != nil || n < 1 || n > 5 {
		return fmt.Errorf("%q is not a number from 1 to 5", b)
	}
	*r = replicas(n)
	return nil
}

type storage string

func (s *storage) UnmarshalText(b []byte) error {
	if string(b) != "file" && string(b) != "memory" {
		return fmt.Errorf("%q is neither file nor memory", b)
	}
	*s = storage(b)
	return nil
}
