package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/understudy-ha/understudy/ha/client"
)

// An application asks for a backup when a task completes. A standby's agent
// refuses, and an agent that is away is no reason for the task to fail.
func ExampleClient_Backup() {
	c, err := client.New("/var/lib/understudy/agent.sock")
	if err != nil {
		slog.Error("make Understudy client", slog.Any("error", err))
		return
	}
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	switch err := c.Backup(ctx, "monthly import finished"); {
	case client.Refused(err):
		slog.Warn("no backup: this is not the active instance", "error", err)
	case err != nil:
		slog.Error("no backup", "error", err)
	}
}

// An application that runs on every host works only where it leads.
func ExampleClient_Leader() {
	c, err := client.New("") // the default socket
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
}
