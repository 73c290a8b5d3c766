package console

import (
	"bytes"
	"fmt"
	"html"
	"io/fs"
	"strings"
	"sync"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	markdown "github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"

	"github.com/understudy-ha/understudy/docs"
)

// helpPath is where the pages of docs/ are served, below "/console/".
const helpPath = "help/"

// help renders the pages of docs/, once: by name, such as "help/runbook".
var help = sync.OnceValue(func() map[string]file {
	files := make(map[string]file)
	names, err := fs.Glob(docs.Pages, "*.md")
	if err != nil {
		panic("read embedded pages: " + err.Error()) // of a pattern
	}
	for _, name := range names {
		source, err := docs.Pages.ReadFile(name)
		if err != nil {
			panic("read embedded pages: " + err.Error()) // they are part of the program
		}
		page := strings.TrimSuffix(name, ".md")
		files[helpPath+page] = newFile(renderHelp(page, source), "text/html; charset=utf-8")
	}
	return files
})

// helpPage is the frame of a page. The text of the documentation is the program's own,
// so that its raw HTML (anchors) may stay.
const helpPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>%s · Understudy</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="../icon.svg">
<link rel="stylesheet" href="../style.css">
</head>
<body class="help">
<nav aria-label="Help"><ul><li><a href="../../">Console</a></li>%s</ul></nav>
<main>
%s</main>
</body>
</html>
`

// helpTabs are the pages that the others name at their top.
var helpTabs = []struct{ page, title string }{
	{"runbook", "Runbook"}, {"concepts", "How it works"}, {"alerts", "Alerts"}, {"configuration", "Configuration"}, {"stores", "Object stores"}, {"console", "Console"},
}

func renderHelp(page string, source []byte) []byte {
	md := goldmark.New(goldmark.WithExtensions(extension.Table), goldmark.WithParserOptions(parser.WithAutoHeadingID()), goldmark.WithRendererOptions(markdown.WithUnsafe()))
	doc := md.Parser().Parse(text.NewReader(source), parser.WithContext(parser.NewContext(parser.WithIDs(anchors{}))))
	title := page
	var elsewhere []*ast.Link
	_ = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) { // the walker below returns no error
		if link, ok := n.(*ast.Link); ok && entering {
			to, served := helpLink(string(link.Destination))
			if link.Destination = []byte(to); !served {
				elsewhere = append(elsewhere, link)
			}
		}
		if heading, ok := n.(*ast.Heading); ok && entering && heading.Level == 1 {
			title = string(heading.Lines().Value(source))
		}
		return ast.WalkContinue, nil
	})
	for _, link := range elsewhere {
		unlink(link)
	}
	var body bytes.Buffer
	if err := md.Renderer().Render(&body, source, doc); err != nil {
		panic("render " + page + ": " + err.Error()) // into memory
	}
	var tabs strings.Builder
	for _, tab := range helpTabs {
		current := ""
		if tab.page == page {
			current = ` aria-current="page"`
		}
		fmt.Fprintf(&tabs, `<li><a href="%s"%s>%s</a></li>`, tab.page, current, tab.title)
	}
	// A wide table is scrolled by itself, also with the keyboard.
	content := strings.NewReplacer("<table>", `<div class="wide" tabindex="0" role="group" aria-label="Table"><table>`, "</table>", "</table></div>").Replace(body.String())
	return fmt.Appendf(nil, helpPage, html.EscapeString(title), tabs.String(), content)
}

// helpLink leads from a page to another one as it is served, to a place in it, or to the
// web. What else there is in the repository is not served.
func helpLink(to string) (link string, served bool) {
	if strings.HasPrefix(to, "#") || strings.Contains(to, "://") {
		return to, true
	}
	path, anchor, found := strings.Cut(to, "#")
	if _, err := fs.Stat(docs.Pages, path); err != nil {
		return to, false
	}
	link = strings.TrimSuffix(path, ".md")
	if found {
		link += "#" + anchor
	}
	return link, true
}

// unlink leaves the text of a link in its place.
func unlink(link *ast.Link) {
	for child := link.FirstChild(); child != nil; child = link.FirstChild() {
		link.Parent().InsertBefore(link.Parent(), link, child)
	}
	link.Parent().RemoveChild(link.Parent(), link)
}

// anchors names headings as GitHub does, so that one link serves both.
type anchors struct{}

// Generate names a heading.
func (anchors) Generate(value []byte, _ ast.NodeKind) []byte {
	name := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsNumber(r), r == '-', r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, string(value))
	return []byte(name)
}

// Put notes an id that a page gives itself.
func (anchors) Put([]byte) {}
