package e2e

import (
	"debug/elf"
	"debug/gosym"
	"strings"
	"testing"
)

// What is linked is resident sooner or later: each package's start touches the pages
// around it. These functions are of what an agent does not need.
var unlinked = map[string]string{
	"google.golang.org/grpc":           "a cloud's SDK that brings gRPC",
	"github.com/envoyproxy/":           "what gRPC brings",
	"go.opentelemetry.io/":             "what gRPC brings",
	"google.golang.org/api/transport/": "a client of Google's that links gRPC",
	"gocloud.dev/blob":                 "a portable API over SDKs that are linked anyhow; it brings gRPC",
	// Templates can call any method by its name: with them, every method of every
	// type is in the program.
	"text/template.(*state).": "something that executes templates",
}

func TestTheProgramLinksNothingThatItDoesNotNeed(t *testing.T) {
	t.Parallel()
	functions := linked(t, shippedBin())
	found := map[string]int{}
	for _, f := range functions {
		for name := range unlinked {
			if strings.HasPrefix(f.Name, name) {
				found[name]++
			}
		}
	}
	for name, n := range found {
		t.Errorf("%d functions of %s are in the program: %s", n, name, unlinked[name])
	}
	if len(functions) < 10_000 {
		t.Errorf("%d functions were read: not the program's", len(functions))
	}
}

// linked reads which functions a program has, which those have that are stripped, too.
func linked(t *testing.T, path string) []gosym.Func {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := f.Section(".gopclntab").Data()
	if err != nil {
		t.Fatal(err)
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(data, f.Section(".text").Addr))
	if err != nil {
		t.Fatal(err)
	}
	return table.Funcs
}
