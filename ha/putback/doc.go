// Package putback is the way out of a bucket that was put back to an earlier state. It says
// what the bucket lacks and what going on from it would mean (PlanRecovery), has the cluster
// go on from it where nobody sees a newer head (RecoverBucket), and puts back what this
// instance has cached of what the bucket lacks (Turn).
package putback
