// Package edge holds what the providers have in common where they meet a
// store over HTTP: the checks before a request, the kinds of errors after it,
// and how to tell whether a request may have reached the store.
package edge
