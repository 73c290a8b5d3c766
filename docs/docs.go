// Package docs has the pages for people who run Understudy, as they are in this folder:
// the console serves them, so that help is there when nothing else can be reached.
package docs

import "embed"

// Pages are the pages, in Markdown.
//
//go:embed alerts.md concepts.md configuration.md console.md monitoring.md postgresql.md runbook.md security.md stores.md
var Pages embed.FS
