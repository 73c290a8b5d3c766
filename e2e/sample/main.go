// Command sample is the sample application as a program of its own; what it
// does is told in package cmd/understudy/sample.
package main

import (
	"os"

	"github.com/understudy-ha/understudy/cmd/understudy/sample"
)

func main() { os.Exit(sample.Main(os.Args[1:], os.Stdout, os.Stderr)) }
