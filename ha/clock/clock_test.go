package clock

import "testing"

func TestTheSystemsClocksGoForward(t *testing.T) {
	c := System()
	first := c.Now()
	if now := c.Now(); now.Mono < first.Mono || now.Boot < first.Boot || now.Boot == 0 || now.Wall.Before(first.Wall) {
		t.Errorf("%+v after %+v", now, first)
	}
}
