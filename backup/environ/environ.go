// Package environ is the environment that programs inherit which an agent starts: its
// own, without the agent's secrets.
package environ

import (
	"slices"
	"strings"
)

// SecretVariables are the agent's own: the cluster's key, the admin token, and
// what opens the bucket.
var SecretVariables = []string{
	"UNDERSTUDY_KEY", "UNDERSTUDY_ADMIN_TOKEN",
	"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
	"AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING",
	"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD",
	"MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD",
}

// InheritVariable names, with commas between, secrets of the bucket's that the
// agent's children inherit nevertheless: hooks, the commands of sources, the
// application. Key and token are never inherited.
const InheritVariable = "UNDERSTUDY_INHERIT"

// WithoutSecrets is an environment as an agent's children have it: whoever gets
// hold of the application must not thereby get hold of its backups.
func WithoutSecrets(environ []string) []string {
	var inherited []string
	for _, entry := range environ {
		if names, found := strings.CutPrefix(entry, InheritVariable+"="); found {
			inherited = strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' })
		}
	}
	return slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(SecretVariables, name) && (strings.HasPrefix(name, "UNDERSTUDY_") || !slices.Contains(inherited, name))
	})
}
