// Package account is who may sign in to the console: users with a role and a
// password, the same on every instance.
//
// The users are part of the shared configuration, in its sealed part. Accounts
// reads and changes them through a Store, which the agent is. Only the active
// changes them.
//
// Passwords are hashed with argon2id, as OWASP recommends, and kept in the PHC
// string format. The memory for hashing is bounded.
package account
