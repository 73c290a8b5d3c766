// Package pages reads the blocks of the project's pages, for the tests that run
// them: README.md, and everything below docs.
package pages
