package server

import (
	"errors"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

func TestAzuriteKeepsDataAndAddressAcrossRestart(t *testing.T) {
	a := Azurite(t)
	if _, err := a.Client(t).CreateContainer(t.Context(), "kept", nil); err != nil {
		t.Fatal(err)
	}
	a.Stop(t)
	if answers(t, a.Address) {
		t.Error("a stopped server still answers")
	}
	a.Start(t)
	if _, err := a.Client(t).NewContainerClient("kept").GetProperties(t.Context(), nil); err != nil {
		t.Errorf("the container after a restart: %v", err)
	}
}

func TestSharedAzuriteIsOneServer(t *testing.T) {
	a, b := SharedAzurite(t), SharedAzurite(t)
	if a != b {
		t.Error("two servers")
	}
	if a.NewBucket(t) == b.NewBucket(t) {
		t.Error("one container for two tests")
	}
}

func TestAzuriteRefusesAnotherKey(t *testing.T) {
	a := *SharedAzurite(t)
	a.Key = "AAAA" + a.Key[4:]
	_, err := a.Client(t).NewListContainersPager(nil).NextPage(t.Context())
	if !bloberror.HasCode(err, bloberror.AuthorizationFailure) && !bloberror.HasCode(err, bloberror.AuthenticationFailed) {
		t.Errorf("error %v, want a refusal", err)
	}
}

func TestAzuriteWithoutNodeSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, err := newAzurite(); !errors.Is(err, errMissing) {
		t.Errorf("error %v, want one that names make setup", err)
	}
}
