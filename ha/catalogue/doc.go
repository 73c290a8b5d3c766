// Package catalogue says which backups of the cluster can be restored, with what this
// instance knows of each: whether it is cached here, who has rehearsed it, and what is
// damaged. It verifies and compares them, says which moments their logs reach (package
// moments), and reads the cluster's audit log.
package catalogue
