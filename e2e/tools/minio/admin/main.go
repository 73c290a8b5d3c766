// Command admin gives a MinIO server a user with a policy: what a test needs of
// MinIO's administration, which speaks a protocol of its own.
//
//	admin HOST:PORT NAME SECRET POLICY.json
//
// The administrator's credentials are in MINIO_ROOT_USER and
// MINIO_ROOT_PASSWORD. A user that is there gets the new policy instead of the
// one that it had.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/minio/madmin-go/v3"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "admin:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 4 {
		return errors.New("want HOST:PORT NAME SECRET POLICY.json")
	}
	name, policy := args[1], "policy-of-"+args[1]
	text, err := os.ReadFile(args[3])
	if err != nil {
		return err
	}
	client, err := madmin.New(args[0], os.Getenv("MINIO_ROOT_USER"), os.Getenv("MINIO_ROOT_PASSWORD"), false)
	if err != nil {
		return fmt.Errorf("configure client: %w", err)
	}
	if err := client.AddUser(ctx, name, args[2]); err != nil {
		return fmt.Errorf("add user: %w", err)
	}
	if err := client.AddCannedPolicy(ctx, policy, text); err != nil {
		return fmt.Errorf("add policy: %w", err)
	}
	_, err = client.AttachPolicy(ctx, madmin.PolicyAssociationReq{Policies: []string{policy}, User: name})
	if err != nil && madmin.ToErrorResponse(err).Code != "XMinioAdminPolicyChangeAlreadyApplied" {
		return fmt.Errorf("attach policy: %w", err)
	}
	return nil
}
