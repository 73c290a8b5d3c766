package client

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Event is one server-sent event.
type Event struct {
	ID   string
	Name string // "" is the specification's "message"
	Data []byte // JSON
}

// maxEventLine is the longest line of a stream of events.
const maxEventLine = 4 << 20

// Stream gives every server-sent event of path to each, until the agent ends
// the stream (nil), each fails (its error), or ctx ends. Any status but 2xx is
// a *Problem.
func (c *Client) Stream(ctx context.Context, path string, each func(Event) error) error {
	resp, err := c.send(ctx, http.MethodGet, path, "text/event-stream", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return readEvents(resp.Body, each)
}

// readEvents reads a text/event-stream. A block without data, and one that the
// end cuts short, are dropped, as the specification says.
func readEvents(r io.Reader, each func(Event) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEventLine)
	var e Event
	var data [][]byte
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if e.Data = bytes.Join(data, []byte("\n")); len(e.Data) > 0 {
				if err := each(e); err != nil {
					return err
				}
			}
			e, data = Event{}, nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			e.Name = value
		case "id":
			e.ID = value
		case "data":
			data = append(data, []byte(value))
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("follow the agent's events: %w", err)
	}
	return nil
}
