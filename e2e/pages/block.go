package pages

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Indented is the language of a block that is set in by four columns.
const Indented = "indented"

// Block is a part of a page that is set as it stands.
type Block struct {
	Page     string // from the top of the repository
	Line     int    // its first one, counted from 1
	Language string // what follows the fence, or Indented
	Text     string
	Before   string // prose between this block and the one before
}

// First is the block's first line.
func (b Block) First() string {
	first, _, _ := strings.Cut(b.Text, "\n")
	return strings.TrimSpace(first)
}

// Files are the pages of the repository, whose top is given.
func Files(top string) (all []string, err error) {
	all = []string{filepath.Join(top, "README.md")}
	err = filepath.WalkDir(filepath.Join(top, "docs"), func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			all = append(all, path)
		}
		return err
	})
	return all, err
}

// All reads the blocks of every page of the repository, whose top is given.
func All(top string) (all []Block, err error) {
	files, err := Files(top)
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		page, err := filepath.Rel(top, path)
		if err != nil {
			return nil, err
		}
		all = append(all, Blocks(filepath.ToSlash(page), string(text))...)
	}
	return all, nil
}

var fence = regexp.MustCompile("^ {0,3}(```+|~~~+)\\s*(\\S*)")

// Blocks reads the blocks of a page.
func Blocks(page, text string) (all []Block) {
	lines := strings.Split(text, "\n")
	var prose []string
	for i := 0; i < len(lines); i++ {
		var start, end int
		language := Indented
		switch m := fence.FindStringSubmatch(lines[i]); {
		case m != nil:
			start, language = i+1, m[2]
			for end = start; end < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[end]), m[1]); end++ {
			}
		case isIndented(lines, i):
			start = i
			for end = i; end < len(lines) && (strings.HasPrefix(lines[end], "    ") || strings.TrimSpace(lines[end]) == ""); end++ {
			}
		default:
			prose = append(prose, lines[i])
			continue
		}
		all = append(all, Block{page, start + 1, language, dedent(lines[start:min(end, len(lines))], language), strings.Join(prose, "\n")})
		prose, i = nil, end
		if language == Indented {
			i-- // what ended the block is no part of it
		}
	}
	return all
}

// isIndented reports whether an indented block begins at a line. What follows an item
// of a list belongs to the item.
func isIndented(lines []string, i int) bool {
	if !strings.HasPrefix(lines[i], "    ") || strings.TrimSpace(lines[i]) == "" {
		return false
	}
	return i == 0 || strings.TrimSpace(lines[i-1]) == ""
}

func dedent(lines []string, language string) string {
	var out []string
	for _, line := range lines {
		if language == Indented {
			line = strings.TrimPrefix(line, "    ")
		}
		out = append(out, line)
	}
	return strings.TrimRight(strings.Join(out, "\n"), "\n ") + "\n"
}
