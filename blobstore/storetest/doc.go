// Package storetest helps to test stores and what is built on them: Memory is
// a store in memory, Faulty is a store that fails at named moments, and Run is
// the conformance suite that every provider passes.
package storetest
