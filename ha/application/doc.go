// Package application starts, stops and judges the application of this host, and looks
// who has its state open.
//
//	Application  starts, stops and judges it: by hooks, or by a Supervisor
//	Hook, Exec   a command that does so, and who runs it
//	Supervisor   who runs the application itself, instead of hooks
//	StandIn      stops it for an agent that cannot begin
//	Holders      who has the application's state open
//
// It decides nothing about roles: the agent says when.
package application
