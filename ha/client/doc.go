// Package client talks to an Understudy agent. Applications import it to ask
// for a backup when a task completes, and to learn whether they run beside the
// active:
//
//	c, err := client.New("/var/lib/understudy/agent.sock")
//	…
//	err = c.Backup(ctx, "monthly import finished")
//
// New, its options, Backup, BackupAndWait, Leader, Role, Watch, Problem and the
// types that they use are stable: within a major version they change by addition
// alone. Do, Stream and Event are what the command line is built on; they know
// nothing of what travels through them, which the agent's OpenAPI document
// (GET /api/v1/openapi.json) describes.
//
// The package imports the standard library alone.
package client
