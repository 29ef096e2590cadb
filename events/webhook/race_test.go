//go:build race

package webhook_test

// raced says that times mean nothing: the race detector slows everything.
const raced = true
