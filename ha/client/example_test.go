package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/understudy-ha/understudy/ha/client"
)

// agent stands for the agent in the examples: an active that is then replaced.
func agent() *httptest.Server {
	looks := 0
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/leader" {
			w.WriteHeader(http.StatusAccepted)
			fmt.Fprint(w, `{"state":"accepted"}`)
			return
		}
		if looks++; looks < 3 {
			fmt.Fprint(w, `{"leading":true,"role":"active","epoch":1,"active":"host-a"}`)
			return
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `{"leading":false,"role":"standby","epoch":2,"active":"host-b"}`)
	}))
}

// An application asks for a backup when a task completes. A standby's agent
// refuses, and an agent that is away is no reason for the task to fail.
func ExampleClient_Backup() {
	there := agent() // in earnest: client.New("/var/lib/understudy/agent.sock")
	defer there.Close()
	c, err := client.New(there.URL, client.WithToken("the admin token"), client.WithPatience(10*time.Second))
	if err != nil {
		slog.Error("make Understudy client", slog.Any("error", err))
		return
	}
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	switch err := c.Backup(ctx, "monthly import finished"); {
	case client.Refused(err):
		fmt.Println("no backup: this is not the active instance")
	case err != nil:
		fmt.Println("no backup:", err)
	default:
		fmt.Println("a backup is on its way")
	}
	// Output: a backup is on its way
}

// An application that runs on every host works only where it leads.
func ExampleClient_Watch() {
	there := agent()
	defer there.Close()
	c, err := client.New(there.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	replaced := errors.New("replaced")
	err = c.Watch(context.Background(), 10*time.Millisecond, func(l client.Leader) error {
		if l.Leading {
			fmt.Println("working, in epoch", l.Epoch)
			return nil
		}
		fmt.Println("idle:", l.Active, "leads")
		return replaced
	})
	fmt.Println(err)
	// Output:
	// working, in epoch 1
	// idle: host-b leads
	// replaced
}

// Who leads can be asked once, too.
func ExampleClient_Leader() {
	there := agent()
	defer there.Close()
	c, err := client.New(there.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	leader, err := c.Leader(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("leading: %t; the active is %s\n", leader.Leading, leader.Active)
	// Output: leading: true; the active is host-a
}
