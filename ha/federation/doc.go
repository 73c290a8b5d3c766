// Package federation has this host's Prometheus follow the active's: it keeps a file of
// Prometheus's file-based service discovery that names the active's address.
package federation
