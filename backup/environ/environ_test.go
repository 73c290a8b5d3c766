package environ

import (
	"slices"
	"testing"
)

func TestChildrenInheritNoSecrets(t *testing.T) {
	environ := []string{"PATH=/bin", "UNDERSTUDY_BUCKET=s3://b", "UNDERSTUDY_KEY_FILE=/k", "PGPASSWORD=app", "AWS_REGION=r"}
	for _, name := range SecretVariables {
		environ = append(environ, name+"=secret")
	}
	want := []string{"PATH=/bin", "UNDERSTUDY_BUCKET=s3://b", "UNDERSTUDY_KEY_FILE=/k", "PGPASSWORD=app", "AWS_REGION=r"}
	if got := WithoutSecrets(environ); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	inherit := InheritVariable + "=AWS_SECRET_ACCESS_KEY, UNDERSTUDY_KEY"
	want = append(want, "AWS_SECRET_ACCESS_KEY=secret", inherit)
	if got := WithoutSecrets(append(environ, inherit)); !slices.Equal(got, want) {
		t.Errorf("with %s: %q", inherit, got)
	}
}
