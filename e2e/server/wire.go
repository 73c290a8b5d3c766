package server

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Wire is the network between one host and a server: TCP connections that can
// be disturbed.
type Wire struct {
	// Address is where the host connects to.
	Address string

	upstream string
	api      *toxiproxy.ApiServer
	proxy    *toxiproxy.Proxy
}

// Trouble is what goes wrong on a wire.
type Trouble struct {
	Type     string         // one of toxiproxy's, or "drop", or "narrow"
	Up       bool           // from the host to the server; else back
	Toxicity float32        // the share of connections that have it; 0 is all
	With     map[string]any // the toxic's own attributes
}

// NewWire lays a wire to a server, for one test.
func NewWire(tb testing.TB, upstream string) *Wire {
	tb.Helper()
	w := &Wire{upstream: upstream, api: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())}
	w.Address = FreeAddress(tb)
	w.lay(tb, nil)
	tb.Cleanup(func() { w.proxy.Stop() })
	return w
}

// Cut ends all connections and refuses new ones, until Mend.
func (w *Wire) Cut() { w.proxy.Stop() }

// Mend makes a cut wire whole again, on the same address.
func (w *Wire) Mend(tb testing.TB) {
	tb.Helper()
	if err := w.proxy.Start(); err != nil {
		tb.Fatalf("start the proxy: %v", err)
	}
}

// Disturb makes trouble on connections to come, in place of what there was,
// until Heal. Those that are open break.
func (w *Wire) Disturb(tb testing.TB, troubles ...Trouble) {
	tb.Helper()
	w.proxy.Stop()
	w.lay(tb, troubles)
}

// Heal takes all trouble away, with the connections that have it.
func (w *Wire) Heal(tb testing.TB) {
	tb.Helper()
	w.Disturb(tb)
}

// lay lays a new wire in place of one that is cut. To change the toxics of
// connections that are open is what toxiproxy can deadlock in.
func (w *Wire) lay(tb testing.TB, troubles []Trouble) {
	tb.Helper()
	w.proxy = toxiproxy.NewProxy(w.api, "wire", w.Address, w.upstream)
	for _, trouble := range troubles {
		toxic := map[string]any{"type": trouble.Type, "stream": "downstream", "toxicity": 1.0, "attributes": trouble.With}
		if trouble.Up {
			toxic["stream"] = "upstream"
		}
		if trouble.Toxicity > 0 {
			toxic["toxicity"] = trouble.Toxicity
		}
		text, err := json.Marshal(toxic)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
			tb.Fatalf("add the toxic %s: %v", text, err)
		}
	}
	w.Mend(tb)
}

func init() {
	toxics.Register("drop", new(dropToxic))
	toxics.Register("narrow", new(narrowToxic))
}

// dropToxic loses data in pieces of a packet's size and does not send them
// again, as a broken middle box does: what comes through has holes.
type dropToxic struct {
	Percent float64 `json:"percent"`
}

// packet is the data of one TCP segment on Ethernet, in bytes.
const packet = 1448

// Pipe implements toxics.Toxic.
func (d *dropToxic) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			for data := chunk.Data; len(data) > 0; {
				n := min(packet, len(data))
				if 100*rand.Float64() >= d.Percent {
					stub.Output <- &stream.StreamChunk{Data: data[:n], Timestamp: chunk.Timestamp}
				}
				data = data[n:]
			}
		}
	}
}

// narrowToxic is one narrow line for all connections together, which take
// turns in pieces of a packet's size. (toxiproxy's "bandwidth" gives each
// connection a line of its own.)
type narrowToxic struct {
	Rate float64 `json:"rate"` // bytes per second

	mu   sync.Mutex
	free time.Time // when the line has sent what was asked of it so far
}

// Pipe implements toxics.Toxic.
func (n *narrowToxic) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			for data := chunk.Data; len(data) > 0; {
				size := min(packet, len(data))
				interrupted := n.turn(size, stub.Interrupt)
				if interrupted {
					size = len(data) // the line is as wide as ever
				}
				stub.Output <- &stream.StreamChunk{Data: data[:size], Timestamp: chunk.Timestamp}
				if interrupted {
					return
				}
				data = data[size:]
			}
		}
	}
}

// turn waits until the line has sent size more bytes; true when it was
// interrupted.
func (n *narrowToxic) turn(size int, interrupt <-chan struct{}) bool {
	n.mu.Lock()
	if now := time.Now(); n.free.Before(now) {
		n.free = now
	}
	n.free = n.free.Add(time.Duration(float64(size) / n.Rate * float64(time.Second)))
	timer := time.NewTimer(time.Until(n.free))
	n.mu.Unlock()
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-interrupt:
		return true
	}
}
