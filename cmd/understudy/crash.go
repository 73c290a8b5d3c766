package main

// step is told of each durable step of the agent (agent.Config.Step). The
// program as it is shipped has none; built with the tag crashpoints it has one
// that ends the process.
var step func(point string)
