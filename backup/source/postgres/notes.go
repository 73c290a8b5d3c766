package postgres

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/understudy-ha/understudy/backup/fsx"
	"github.com/understudy-ha/understudy/backup/source/postgres/internal/globals"
)

// notes are the files that a source keeps in its scratch directory: what belongs to a
// stage carries the oid of its database.
type notes struct{ dir string }

// archive is where the dump is while it is restored.
func (n *notes) archive() string { return filepath.Join(n.dir, "dump.pgc") }

// roles keeps what a backup says of roles for the swap of its stage.
func (n *notes) roles(stage uint32) string {
	return filepath.Join(n.dir, fmt.Sprintf("roles-%d.json", stage))
}

// replacedRoles keeps what the server had of the roles that a swap changed.
func (n *notes) replacedRoles() string { return filepath.Join(n.dir, "replaced-roles.json") }

// left keeps what a staged database was left as.
func (n *notes) left(stage uint32) string {
	return filepath.Join(n.dir, fmt.Sprintf("left-%d", stage))
}

// drop removes the notes, but for those of the databases that keep theirs.
func (n *notes) drop(except ...string) error {
	found, err := filepath.Glob(filepath.Join(n.dir, "*roles*.json"))
	if err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(n.dir, "left-*"))
	if err != nil {
		return err
	}
	found = append(found, left...)
	return fsx.RemoveFiles(slices.DeleteFunc(found, func(path string) bool { return slices.Contains(except, path) })...)
}

func writeGlobals(path string, g *globals.State) error {
	raw, err := json.Marshal(g)
	if err != nil {
		return err
	}
	return writeDurably(path, raw)
}

func writeDurably(path string, raw []byte) error {
	return fsx.ReplaceFile(path, func(w io.Writer) error {
		_, err := w.Write(raw)
		return err
	})
}

func readGlobalsFile(path string) (*globals.State, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	g := new(globals.State)
	return g, json.Unmarshal(raw, g)
}
